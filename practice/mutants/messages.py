"""Mistakes of stage 2."""

from practice.mutants.mutant import Change, mutant

MUTANTS = (
    # Texts.
    mutant(
        "text_stripped",
        "messages.whitespace",
        "Space around a text is removed.",
        Change(
            "flask_sqlite/reading.py",
            'surrogate pair is no character")\n    return text\n',
            'surrogate pair is no character")\n    return text.strip()\n',
        ),
    ),
    mutant(
        "text_cut_at_255",
        "messages.long",
        "A text is cut after 255 characters, as in a VARCHAR(255).",
        Change("node/reading.mjs", "  return text;\n}", "  return text.slice(0, 255);\n}"),
    ),
    mutant(
        "text_escaped_for_html",
        "messages.quotes",
        "A text is stored as HTML: who reads it gets &lt; for <.",
        Change("flask_sqlite/messages.py", '"text": message.text,', '"text": html.escape(message.text),'),
        Change("flask_sqlite/messages.py", "import re\n", "import html\nimport re\n"),
    ),
    mutant(
        "emoji_lost",
        "messages.emoji",
        "Characters that UTF-8 needs four bytes for become question marks, as in MySQL's utf8.",
        Change("node/reading.mjs", "  return text;\n}", '  return text.replace(/[\\u{10000}-\\u{10ffff}]/gu, "?");\n}'),
    ),
    mutant(
        "newlines_changed",
        "messages.whitespace",
        "Ends of lines are normalised.",
        Change("node/reading.mjs", "  return text;\n}", '  return text.replaceAll("\\r\\n", "\\n");\n}'),
    ),
    mutant(
        "long_text_refused",
        "messages.long",
        "Texts of more than 1,000 characters are refused.",
        Change("flask_sqlite/reading.py", "MAX_TEXT = 4000", "MAX_TEXT = 1000"),
    ),
    mutant(
        "quotes_break_the_sql",
        "messages.quotes",
        "The text is put into the SQL by hand: an apostrophe ends it.",
        Change(
            "flask_sqlite/store.py",
            """\
"INSERT INTO message (text, created_at, reply_to, sms_sid) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [text, created_at, reply_to, sms_sid],""",
            """\
"INSERT INTO message (text, created_at, reply_to, sms_sid)"
                f" VALUES ('{text}', ?, ?, ?) ON CONFLICT DO NOTHING",
                [created_at, reply_to, sms_sid],""",
        ),
    ),
    mutant(
        "same_text_stored_once",
        "messages.new_ids",
        "A text that was sent before is taken for a repetition.",
        Change(
            "node/messages.mjs",
            "const known = sid && this.#sms.get(sid);",
            "const known = sid ? this.#sms.get(sid) : this.#log.entries.find((each) => each.text === text);",
        ),
    ),
    # Lists.
    mutant(
        "limit_ignored",
        "messages.limit",
        "A list always has up to 20 messages.",
        Change("flask_sqlite/messages.py", 'checked_limit(request.args.get("limit", "20"))', "20"),
    ),
    mutant(
        "id_is_text_in_one_place",
        "messages.stored",
        "The answer to a POST has the id as text, lists have it as a number.",
        Change(
            "flask_sqlite/messages.py",
            "return as_json(message), 201",
            'return as_json(message) | {"id": str(message.id)}, 201',
        ),
    ),
    mutant(
        "limit_off_by_one",
        "messages.limit",
        "limit=N gives N + 1 messages.",
        Change("node/messages.mjs", "found.length < limit", "found.length <= limit"),
    ),
    mutant(
        "oldest_first",
        "messages.limit",
        "The N oldest messages, oldest first.",
        Change("stdlib/app.py", "ORDER BY id DESC LIMIT ?", "ORDER BY id LIMIT ?"),
    ),
    mutant(
        "newest_last",
        "messages.limit",
        "The right messages in the wrong order: the newest is the last.",
        Change(
            "node/server.mjs",
            "messages.newest(limit, since).map(shown)",
            "messages.newest(limit, since).map(shown).reverse()",
        ),
    ),
    mutant(
        "sorted_as_text",
        "messages.order",
        "Ids are sorted as text: 10 comes before 9.",
        Change("flask_sqlite/store.py", "ORDER BY id DESC LIMIT ?", "ORDER BY CAST(id AS TEXT) DESC LIMIT ?"),
    ),
    # Bad input.
    mutant(
        "bad_limit_is_500",
        "messages.bad_limit",
        "limit=abc raises an exception that nobody catches.",
        Change(
            "flask_sqlite/messages.py",
            'checked_limit(request.args.get("limit", "20"))',
            'int(request.args.get("limit", "20"))',
        ),
    ),
    mutant(
        "half_an_emoji_is_500",
        "messages.half_character",
        "Half an emoji reaches the database driver, which cannot write it.",
        Change(
            "flask_sqlite/reading.py", 'any("\\ud800" <= each <= "\\udfff" for each in text)', "len(text) > MAX_TEXT"
        ),
    ),
    mutant(
        "bad_json_is_500",
        "messages.not_json",
        "A body that is not JSON raises an exception that nobody catches.",
        Change("flask_sqlite/reading.py", "except (ValueError, RecursionError):", "except RecursionError:"),
    ),
    mutant(
        "body_that_is_no_object_raises",
        "messages.no_text",
        "JSON that is not an object is asked for its text like one.",
        Change("stdlib/app.py", "if not isinstance(document, dict):", "if document is None:"),
    ),
    mutant(
        "missing_text_stored_as_none",
        "messages.no_text",
        "What is not text is made text: a message without a text says None.",
        Change("flask_sqlite/messages.py", 'checked_text(body.get("text"))', 'checked_text(str(body.get("text")))'),
    ),
    mutant(
        "bad_input_accepted",
        "messages.not_json",
        "An error is told with status 200.",
        Change(
            "node/server.mjs", "return send(error.status, {", "return send(error.status < 429 ? 200 : error.status, {"
        ),
    ),
    mutant(
        "bad_input_never_answered",
        "messages.not_json",
        "The error is caught and no answer is sent: the client waits for ever.",
        Change(
            "node/server.mjs",
            "if (error instanceof Refusal) return send(",
            "if (error instanceof Refusal) return error.status === 400 || send(",
        ),
    ),
    mutant(
        "bad_input_ends_the_server",
        "messages.not_json",
        "A bad body throws where nothing catches it, and that ends the process.",
        Change(
            "node/server.mjs",
            "    if (error instanceof Refusal) return send(",
            """\
    if (request.method === "POST" && error.status === 400) throw error;
    if (error instanceof Refusal) return send(""",
        ),
    ),
    # Many at once.
    mutant(
        "ids_equal_under_concurrency",
        "messages.ids",
        "The next id is the number of messages that are stored, which two at once both find.",
        Change("node/messages.mjs", "id: randomUUID(),", "id: String(this.#log.entries.length + 1),"),
    ),
    mutant(
        "messages_lost_under_concurrency",
        "messages.at_once",
        "Two at once find the same free id, and the second overwrites the first.",
        Change(
            "flask_sqlite/store.py",
            """\
        with self._writing() as db:
            if reply_to is not None and _find(db, reply_to) is None:
                raise UnknownParent
            created_at = (datetime.now(UTC) - EPOCH) // MILLISECOND
            cursor = db.execute(
                "INSERT INTO message (text, created_at, reply_to, sms_sid) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [text, created_at, reply_to, sms_sid],""",
            """\
        with self._reading() as db:
            (newest,) = db.execute("SELECT max(id) FROM message").fetchone()
        with self._writing() as db:
            if reply_to is not None and _find(db, reply_to) is None:
                raise UnknownParent
            created_at = (datetime.now(UTC) - EPOCH) // MILLISECOND
            cursor = db.execute(
                "INSERT OR REPLACE INTO message (id, text, created_at, reply_to, sms_sid) VALUES (?, ?, ?, ?, ?)",
                [(newest or 0) + 1, text, created_at, reply_to, sms_sid],""",
        ),
    ),
    mutant(
        "busy_database_is_500",
        "messages.at_once",
        "Each write has a connection of its own and does not wait for the others: the database is locked.",
        Change(
            "flask_sqlite/store.py",
            "with self._one_writer, self._writer:\n            yield self._writer",
            "with self._reading() as db, db:\n            yield db",
        ),
        Change(
            "flask_sqlite/store.py", "sqlite3.connect(self._path, timeout=30,", "sqlite3.connect(self._path, timeout=0,"
        ),
    ),
    # Restarts.
    mutant(
        "messages_in_memory_only",
        "messages.restart",
        "Messages are kept in memory, and written nowhere.",
        Change(
            "node/messages.mjs",
            "this.#log.append(message).then(",
            "Promise.resolve(this.#log.entries.push(message)).then(",
        ),
    ),
    mutant(
        "ids_reused_after_restart",
        "messages.new_ids",
        "Ids are counted in memory, from 1 with each start.",
        Change("node/messages.mjs", "id: randomUUID(),", "id: String((this.count = (this.count ?? 0) + 1)),"),
    ),
    mutant(
        "never_committed",
        "messages.kill",
        "The transaction is never committed: the connection that wrote sees the messages, and kill -9 takes them all.",
        Change(
            "stdlib/app.py",
            "        with self.lock, self.db:\n            created_at",
            "        with self.lock:\n            created_at",
        ),
    ),
    mutant(
        "answered_before_it_is_written",
        "messages.kill",
        "A message is acknowledged and shown first, and written with others a moment later.",
        Change(
            "node/log.mjs",
            """\
      await this.#file.appendFile(batch.map(({ entry }) => JSON.stringify(entry) + "\\n").join(""));
      await this.#file.datasync();
      for (const { entry, resolve } of batch) {
        this.entries.push(entry);
        resolve(entry);
      }""",
            """\
      for (const { entry, resolve } of batch) {
        this.entries.push(entry);
        resolve(entry);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
      await this.#file.appendFile(batch.map(({ entry }) => JSON.stringify(entry) + "\\n").join(""));
      await this.#file.datasync();""",
        ),
    ),
    mutant(
        "committed_every_half_second",
        "messages.kill",
        "A thread commits what has been written twice a second; the answer does not wait for it.",
        Change(
            "stdlib/app.py",
            "        with self.lock, self.db:\n            created_at",
            "        with self.lock:\n            created_at",
        ),
        Change(
            "stdlib/app.py",
            "        self.lock = threading.Lock()\n",
            """\
        self.lock = threading.Lock()

        def commit() -> None:
            while True:
                time.sleep(0.5)
                with self.lock:
                    self.db.commit()

        threading.Thread(target=commit, daemon=True).start()
""",
        ),
    ),
)
