"""Mistakes of stage 4."""

from practice.mutants.mutant import Change, mutant

MUTANTS = (
    mutant(
        "unknown_parent_accepted",
        "replies.unknown_parent",
        "A reply to a message that does not exist is stored.",
        Change(
            "flask_sqlite/store.py",
            """\
            if reply_to is not None and _find(db, reply_to) is None:
                raise UnknownParent
""",
            "",
        ),
    ),
    mutant(
        "unknown_parent_is_500",
        "replies.unknown_parent",
        "Nobody catches the exception of a parent that does not exist.",
        Change("flask_sqlite/messages.py", "        except UnknownParent:\n", "        except KeyError:\n"),
    ),
    mutant(
        "replies_newest_first",
        "replies.order",
        "The replies to a message run from new to old.",
        Change("flask_sqlite/store.py", '"WHERE reply_to = ? ORDER BY id"', '"WHERE reply_to = ? ORDER BY id DESC"'),
    ),
    mutant(
        "replies_without_the_parent",
        "replies.thread",
        "GET /messages/{id} gives the replies, and not the message.",
        Change("node/server.mjs", "return { ...shown(message), replies:", "return { replies:"),
    ),
    mutant(
        "no_replies_no_list",
        "replies.none",
        "A message without replies has no list of them.",
        Change(
            "node/server.mjs",
            "replies: messages.repliesTo(id).map(shown) };",
            "replies: messages.repliesTo(id).length ? messages.repliesTo(id).map(shown) : undefined };",
        ),
    ),
    mutant(
        "replies_of_everybody",
        "replies.thread",
        "The replies to all messages are given for each.",
        Change("stdlib/app.py", "WHERE reply_to = ? ORDER BY id", "WHERE reply_to IS NOT NULL AND ? ORDER BY id"),
    ),
    mutant(
        "replies_lost_at_restart",
        "replies.restart",
        "Which message is a reply to which is only in memory.",
        Change(
            "node/messages.mjs",
            "for (const message of messages.#log.entries) messages.#index(message);",
            "for (const message of messages.#log.entries) messages.#byId.set(message.id, message);",
        ),
    ),
    mutant(
        "reply_to_not_shown",
        "replies.reply",
        "A reply is stored, and no answer says what it replies to.",
        Change("node/server.mjs", "return { id, text, created_at, reply_to };", "return { id, text, created_at };"),
    ),
    mutant(
        "unknown_id_is_500",
        "replies.unknown_message",
        "The row of a message that does not exist is used like one.",
        Change(
            "flask_sqlite/messages.py",
            '        if found is None:\n            raise NotFound(f"there is no message {id}")\n',
            "",
        ),
    ),
    mutant(
        "id_that_is_no_number_is_500",
        "replies.unknown_message",
        "The id in the path is made a number without a look at it.",
        Change(
            "flask_sqlite/messages.py",
            'store.find(int(id)) if re.fullmatch("[0-9]{1,18}", id) else None',
            "store.find(int(id))",
        ),
    ),
    mutant(
        "unknown_id_is_200",
        "replies.unknown_message",
        "A message that does not exist is an empty object.",
        Change(
            "node/server.mjs",
            "if (!message) throw new Refusal(404, `there is no message ${id}`);",
            "if (!message) return { replies: [] };",
        ),
    ),
)
