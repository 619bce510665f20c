"""Mistakes of stage 3."""

from practice.mutants.mutant import Change, mutant

MIGRATE_WHOLE = """\
  const unfinished = after + ".unfinished";
  writeFileSync(unfinished, messages.map((message) => JSON.stringify(message) + "\\n").join(""));
  fsyncSync(openSync(unfinished, "r+"));
  renameSync(unfinished, after);
  syncFolderOf(after);
"""

MUTANTS = (
    mutant(
        "since_exclusive",
        "time.inclusive",
        "since=T leaves out what was created at T.",
        Change("flask_sqlite/store.py", "WHERE created_at >= ?", "WHERE created_at > ?"),
    ),
    mutant(
        "since_gives_the_oldest",
        "time.limit",
        "With a since, the list runs from old to new, and the limit cuts off what is new.",
        Change(
            "flask_sqlite/store.py",
            'f"WHERE created_at >= ? {newest_first}"',
            '"WHERE created_at >= ? ORDER BY id LIMIT ?"',
        ),
    ),
    mutant(
        "fractions_compared_as_text",
        "time.fractions",
        "Times are compared as text, with a fraction or without: 10:00:00.5Z sorts before 10:00:00Z.",
        Change("stdlib/migrate.py", 'isoformat(timespec="microseconds")', "isoformat()"),
    ),
    mutant(
        "since_compared_as_text",
        "time.offsets",
        "since is compared with the stored text as it was sent, whatever its zone.",
        Change("stdlib/app.py", "return rfc3339(moment)", "return text"),
    ),
    mutant(
        "since_offset_ignored",
        "time.offsets",
        "The offset of since is read and thrown away.",
        Change("flask_sqlite/reading.py", "    return time\n", "    return time.replace(tzinfo=UTC)\n"),
        Change("flask_sqlite/reading.py", "import datetime\n", "import UTC, datetime\n"),
    ),
    mutant(
        "since_ignored",
        "time.since",
        "since is taken and not used.",
        Change("flask_sqlite/messages.py", "service.newest(limit, since)", "service.newest(limit)"),
    ),
    mutant(
        "since_in_whole_seconds",
        "time.since",
        "The fraction of since is thrown away: what was created earlier in that second is listed too.",
        Change(
            "node/reading.mjs", 'return second + Math.ceil(Number(`0.${fraction || "0"}`) * 1000);', "return second;"
        ),
    ),
    mutant(
        "bad_since_is_500",
        "time.bad_since",
        "since=yesterday raises an exception that nobody catches.",
        Change(
            "flask_sqlite/reading.py",
            '    except ValueError:\n        raise BadRequest("since',
            '    except KeyError:\n        raise BadRequest("since',
        ),
    ),
    mutant(
        "naive_times",
        "time.created_at",
        "created_at has no offset from UTC: it may be any time of that day.",
        Change("flask_sqlite/messages.py", '.replace("+00:00", "Z")', '.replace("+00:00", "")'),
    ),
    mutant(
        "local_time_called_utc",
        "time.now",
        "created_at is the clock on the wall, with the Z of UTC behind it.",
        Change(
            "node/messages.mjs",
            "created_at: new Date().toISOString(),",
            "created_at: new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString(),",
        ),
    ),
    mutant(
        "times_as_unix_numbers",
        "time.created_at",
        "created_at is a number of milliseconds.",
        Change("flask_sqlite/messages.py", "rfc3339(message.created_at)", "message.created_at"),
    ),
    mutant(
        "milliseconds_cut_off",
        "time.created_at",
        "Times are stored in whole seconds; only the answer to the POST has milliseconds.",
        Change(
            "flask_sqlite/store.py",
            "[text, created_at, reply_to, sms_sid],",
            "[text, created_at // 1000 * 1000, reply_to, sms_sid],",
        ),
    ),
    mutant(
        "one_message_per_millisecond",
        "time.same_moment",
        "A list by time has one message for each millisecond.",
        Change(
            "node/messages.mjs",
            "if (isSince(entries[i], since)) found.push(entries[i]);",
            """\
const another = since === undefined || found.at(-1)?.created_at !== entries[i].created_at;
      if (isSince(entries[i], since) && another) found.push(entries[i]);""",
        ),
    ),
    mutant(
        "time_differs_between_answer_and_list",
        "time.created_at",
        "The time in the answer is that of the answer, the one in the list that of the commit.",
        Change(
            "node/server.mjs",
            "  send(201, shown(await messages.add(text, parent)));",
            """\
  const message = await messages.add(text, parent);
  send(201, { ...shown(message), created_at: new Date(Date.now() + 1).toISOString() });""",
        ),
    ),
    mutant(
        "times_made_up_at_start",
        "time.restart",
        "The time of a message is not in the file: each start gives its own.",
        Change(
            "node/messages.mjs",
            "for (const message of messages.#log.entries) messages.#index(message);",
            """\
for (const message of messages.#log.entries) {
      messages.#index(Object.assign(message, { created_at: new Date().toISOString() }));
    }""",
        ),
    ),
    # The data of stage 2.
    mutant(
        "migration_drops_the_messages",
        "time.migrated",
        "The table is dropped and made anew, with its new column.",
        Change(
            "flask_sqlite/store.py",
            "    ALTER TABLE message ADD COLUMN created_at INTEGER;",
            """\
    DROP TABLE message;
    CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, created_at INTEGER);""",
        ),
    ),
    mutant(
        "old_messages_left_behind",
        "time.migrated",
        "The new server has a new file, and the old one is not read.",
        Change("flask_sqlite/store.py", 'data / "messages.db"', 'data / "messages-2.db"'),
    ),
    mutant(
        "old_messages_hidden",
        "time.migrated",
        "Old messages have no time, and a list shows only those that have one.",
        Change(
            "flask_sqlite/store.py",
            "return _messages(db, newest_first, limit)",
            'return _messages(db, f"WHERE created_at IS NOT NULL {newest_first}", limit)',
        ),
    ),
    mutant(
        "migration_changes_ids",
        "time.migrated",
        "Old messages get new ids: what others have noted down points nowhere.",
        Change("node/migrate.mjs", "({ ...message, created_at", "({ ...message, id: crypto.randomUUID(), created_at"),
    ),
    mutant(
        "migration_turns_the_order_round",
        "time.old_order",
        "The migration reads the newest first, and writes them in that order.",
        Change(
            "node/migrate.mjs",
            "const messages = readWhole(before).map(",
            "const messages = readWhole(before).reverse().map(",
        ),
    ),
    mutant(
        "migration_garbles_emoji",
        "time.migrated",
        "The old file is read as Latin-1.",
        Change(
            "node/migrate.mjs",
            "import { readWhole, syncFolderOf }",
            'import { readFileSync } from "node:fs";\nimport { syncFolderOf }',
        ),
        Change(
            "node/migrate.mjs",
            "readWhole(before).map(",
            'readFileSync(before, "latin1").trim().split("\\n").map((line) => JSON.parse(line)).map(',
        ),
    ),
    mutant(
        "migration_loses_the_last",
        "time.migrated",
        "The loop ends one too early.",
        Change(
            "node/migrate.mjs",
            "const messages = readWhole(before).map(",
            "const messages = readWhole(before).slice(0, -1).map(",
        ),
    ),
    mutant(
        "migration_invents_times",
        "time.invented",
        "Old messages claim to have been sent while the migration ran.",
        Change("node/migrate.mjs", "created_at: null", "created_at: new Date().toISOString()"),
    ),
    mutant(
        "migration_twice_doubles",
        "time.migrated_twice",
        "Each run of the migration adds the old messages once more.",
        Change("node/migrate.mjs", "if (existsSync(before) && !existsSync(after)) {", "if (existsSync(before)) {"),
        Change(
            "node/migrate.mjs",
            "  renameSync(unfinished, after);\n",
            '  appendFileSync(after, readFileSync(unfinished, "utf8"));\n',
        ),
        Change(
            "node/migrate.mjs",
            "import { existsSync, fsyncSync,",
            "import { appendFileSync, existsSync, fsyncSync, readFileSync,",
        ),
    ),
    mutant(
        "migration_twice_overwrites",
        "time.migrated_twice",
        "Each run of the migration writes the file anew, without what was said since the first.",
        Change("node/migrate.mjs", "if (existsSync(before) && !existsSync(after)) {", "if (existsSync(before)) {"),
    ),
    mutant(
        "migration_twice_fails",
        "time.migrated_twice",
        "The migration does not know that it has run: the column is there already, and the server does not start.",
        Change("flask_sqlite/store.py", "MIGRATIONS[applied:], start=applied + 1", "MIGRATIONS, start=1"),
    ),
    mutant(
        "migration_killed_leaves_half",
        "time.migration_killed",
        "The new file has its name while it is still being written: killed in between, it counts as finished.",
        Change(
            "node/migrate.mjs",
            MIGRATE_WHOLE,
            """\
  const file = openSync(after, "w");
  for (const message of messages) {
    writeFileSync(file, JSON.stringify(message) + "\\n");
    fsyncSync(file);
  }
""",
        ),
    ),
    mutant(
        "migration_killed_doubles",
        "time.migration_killed",
        "A migration that was killed begins again from the start, and does not look at what it has written.",
        Change(
            "node/migrate.mjs",
            "if (existsSync(before) && !existsSync(after)) {",
            'if (existsSync(before) && !existsSync(after + ".done")) {',
        ),
        Change(
            "node/migrate.mjs",
            MIGRATE_WHOLE,
            """\
  const file = openSync(after, "a");
  for (const message of messages) {
    writeFileSync(file, JSON.stringify(message) + "\\n");
    fsyncSync(file);
  }
  writeFileSync(after + ".done", "");
""",
        ),
    ),
)
