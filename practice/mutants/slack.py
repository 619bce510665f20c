"""Mistakes of stage 6."""

from practice.mutants.mutant import Change, mutant

MUTANTS = (
    mutant(
        "slack_signature_not_checked",
        "slack.unsigned",
        "Whoever knows the address can give commands.",
        Change(
            "node/server.mjs",
            "if (!isFromSlack(SLACK_SIGNING_SECRET, body, request.headers)) {",
            "if (body.length === 0) {",
        ),
    ),
    mutant(
        "slack_time_not_checked",
        "slack.old",
        "A command that was recorded is obeyed for ever.",
        Change(
            "node/webhooks.mjs",
            'return secret !== "" && age <= FIVE_MINUTES && isSame(',
            'return secret !== "" && isSame(',
        ),
    ),
    mutant(
        "slack_time_that_is_no_number_is_500",
        "slack.bad_time",
        "Slack's library raises for a time that is no number, and nobody catches it.",
        Change("flask_sqlite/signatures.py", "except (ValueError, TypeError):", "except TypeError:"),
    ),
    mutant(
        "slack_unknown_command_is_500",
        "slack.other_command",
        "Whatever is not send is taken for a list, and its number read without a look at it.",
        Change(
            "flask_sqlite/webhooks.py",
            '    if verb == "list":\n        messages = service.newest(checked_limit(rest.strip() or "10"))',
            "    if verb:\n        messages = service.newest(int(rest))",
        ),
    ),
    mutant(
        "slack_any_signature_accepted",
        "slack.unsigned",
        "A signature is compared by its length.",
        Change(
            "node/webhooks.mjs",
            "return left.length === right.length && timingSafeEqual(left, right);",
            "return left.length === right.length;",
        ),
    ),
    mutant(
        "slack_signature_over_a_reencoded_form",
        "slack.send",
        "The form is parsed and encoded again before its signature is checked, which changes some bytes.",
        Change(
            "flask_sqlite/webhooks.py",
            "is_from_slack(slack_secret, request.get_data(), request.headers)",
            "is_from_slack(slack_secret, urlencode(request.form).encode(), request.headers)",
        ),
        Change("flask_sqlite/webhooks.py", "import os\n", "import os\nfrom urllib.parse import urlencode\n"),
    ),
    mutant(
        "slack_text_not_unescaped",
        "slack.unescaped",
        "A command is stored as Slack wrote it: who typed < finds &lt;.",
        Change("flask_sqlite/webhooks.py", "checked_text(unescaped(rest))", "checked_text(rest)"),
    ),
    mutant(
        "slack_unescaped_in_the_wrong_order",
        "slack.unescaped",
        "The ampersand is turned back first: who typed &lt; is read as if it were <.",
        Change(
            "node/webhooks.mjs",
            'return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");',
            'return text.replaceAll("&amp;", "&").replaceAll("&lt;", "<").replaceAll("&gt;", ">");',
        ),
    ),
    mutant(
        "slack_answer_not_escaped",
        "slack.escaped",
        "A list shows <!channel> as it was sent, and Slack calls everybody.",
        Change(
            "flask_sqlite/webhooks.py",
            '"\\n".join(escaped(each.text) for each in messages)',
            '"\\n".join(each.text for each in messages)',
        ),
    ),
    mutant(
        "slack_answers_too_late",
        "slack.quick",
        "The work is done before the answer, and takes 4 s.",
        Change(
            "flask_sqlite/webhooks.py",
            "    verb, _, rest = words.partition(",
            "    time.sleep(4)\n    verb, _, rest = words.partition(",
        ),
        Change("flask_sqlite/webhooks.py", "import os\n", "import os\nimport time\n"),
    ),
    mutant(
        "slack_list_ignores_n",
        "slack.list",
        "list N always shows 10.",
        Change("node/server.mjs", 'checkedLimit(rest.trim() || "10")', "10"),
    ),
    mutant(
        "slack_list_shows_the_oldest",
        "slack.list",
        "list N shows the first N messages.",
        Change(
            "stdlib/app.py",
            "in self.service.newest(int(rest or 10))]",
            "in self.service.newest(1000)[::-1][: int(rest or 10)]]",
        ),
    ),
    mutant(
        "slack_stores_the_whole_command",
        "slack.send",
        "The word send is stored with the text.",
        Change("stdlib/app.py", "self.service.add(rest.replace(", "self.service.add(words.replace("),
    ),
    mutant(
        "slack_stores_the_first_word",
        "slack.send",
        "The text is taken for one word, and ends at its first space.",
        Change(
            "node/server.mjs",
            "await messages.add(checkedText(unescaped(rest)));",
            'await messages.add(checkedText(unescaped(rest.split(" ")[0])));',
        ),
    ),
)
