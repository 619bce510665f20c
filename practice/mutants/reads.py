"""Mistakes of stage 7."""

from practice.mutants.mutant import Change, mutant

MUTANTS = (
    mutant(
        "cache_never_emptied",
        "reads.own",
        "A list that was read once is shown for ever.",
        Change("flask_sqlite/service.py", "        self._recent.note_stored()\n", ""),
    ),
    mutant(
        "cache_emptied_before_the_write",
        "reads.fresh",
        "Who reads between the emptying and the commit fills the cache with the list as it was before.",
        Change(
            "flask_sqlite/service.py",
            """\
        message = self.store.add(text, reply_to, sms_sid)
        self._recent.note_stored()
""",
            """\
        self._recent.note_stored()
        message = self.store.add(text, reply_to, sms_sid)
""",
        ),
    ),
    mutant(
        "cache_filled_with_what_was_read_before_a_write",
        "reads.fresh",
        "A list that was read before a commit is cached after it.",
        Change(
            "flask_sqlite/recent.py",
            """\
            page = self._read(limit)
            with self._lock:
                # A message that was stored while we read may be missing in what we have read: that is not kept.
                if self._version == version:
                    self._pages[limit] = page
""",
            """\
            page = self._read(limit)
            time.sleep(0.005)  # the way from a database on another machine
            with self._lock:
                self._pages[limit] = page
""",
        ),
        Change("flask_sqlite/recent.py", "import threading\n", "import threading\nimport time\n"),
    ),
    mutant(
        "cache_older_than_promised",
        "reads.own",
        "Lists are cached for 2 s, and half a second is promised.",
        Change("stdlib/app.py", "STALE_SECONDS = 0.5", "STALE_SECONDS = 2.0"),
    ),
    mutant(
        "cache_of_a_second_that_promises_none",
        "reads.own",
        "Lists are cached for a second, and practice.toml promises that they are never old.",
        Change(
            "node/server.mjs",
            "const messages = await Messages.open(options.data);\n",
            "const messages = await Messages.open(options.data);\nconst cache = new Map();\n",
        ),
        Change(
            "node/server.mjs",
            """\
    return { messages: messages.newest(limit, since).map(shown) };
""",
            """\
    const key = `${limit} ${since}`;
    if (!cache.has(key)) {
      cache.set(key, { messages: messages.newest(limit, since).map(shown) });
      setTimeout(() => cache.delete(key), 1000);
    }
    return cache.get(key);
""",
        ),
    ),
    mutant(
        "cache_ignores_the_limit",
        "reads.own",
        "The list that was read last is shown to all, whatever limit they asked for.",
        Change("flask_sqlite/recent.py", "self._version, self._pages.get(limit)", "self._version, self._pages.get(0)"),
        Change("flask_sqlite/recent.py", "self._pages[limit] = page", "self._pages[0] = page"),
    ),
    mutant(
        "new_messages_added_twice",
        "reads.once",
        "Two readers at once find the same new messages, and both put them before the cached list.",
        Change(
            "flask_sqlite/recent.py",
            """\
        with self._lock:
            version, page = self._version, self._pages.get(limit)
        if page is None:
            page = self._read(limit)
            with self._lock:
                # A message that was stored while we read may be missing in what we have read: that is not kept.
                if self._version == version:
                    self._pages[limit] = page
        return page
""",
            """\
        page = self._pages.setdefault(limit, [])
        known = page[0].id if page else 0
        time.sleep(0.005)  # the way to a database on another machine
        page[:0] = [each for each in self._read(limit) if each.id > known]
        return page[:limit]
""",
        ),
        Change("flask_sqlite/recent.py", "import threading\n", "import threading\nimport time\n"),
    ),
    mutant(
        "list_read_in_two_pages",
        "reads.whole",
        "A list is read in two queries, the older part first: what is stored in between moves messages past both.",
        Change(
            "flask_sqlite/store.py",
            "                return _messages(db, newest_first, limit)\n",
            """\
                older = _messages(db, f"{newest_first} OFFSET 10", max(limit - 10, 0))
                return _messages(db, newest_first, min(limit, 10)) + older
""",
        ),
    ),
    mutant(
        "old_messages_deleted_to_be_fast",
        "reads.stored",
        "Only the newest 100 messages are kept, so that lists stay fast.",
        Change(
            "flask_sqlite/store.py",
            "        if cursor.rowcount == 0 or",
            """\
            db.execute("DELETE FROM message WHERE id <= ?", [(cursor.lastrowid or 0) - 100])
        if cursor.rowcount == 0 or""",
        ),
    ),
    mutant(
        "readers_locked_out_by_writers",
        "reads.answered",
        "While somebody writes, a reader finds the database locked: 500.",
        Change("flask_sqlite/store.py", "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = DELETE"),
        Change(
            "flask_sqlite/store.py", "sqlite3.connect(self._path, timeout=30,", "sqlite3.connect(self._path, timeout=0,"
        ),
    ),
)
