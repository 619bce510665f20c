"""Slack's markup (mrkdwn), as the author of a message has typed it.

https://docs.slack.dev/messaging/formatting-message-text says what stands between `<` and `>`. Those that an author
types come as `&lt;` and `&gt;`.
"""

import re

REFERENCE = re.compile(r"<([^<>]+)>")
# A link whose label is what was typed: Slack has added the scheme.
SCHEMES = ("http://", "https://", "mailto:", "tel:", "ftp://")


def typed(text: str) -> str:
    """The text as it was typed: people, channels and links by their names, and `&`, `<`, `>` themselves."""
    return unescaped(REFERENCE.sub(lambda found: _typed(found[1]), text))


def unescaped(text: str) -> str:
    """Undo Slack's escaping of `&`, `<` and `>` in `text`."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _typed(reference: str) -> str:
    target, _, label = reference.partition("|")
    sign, rest = target[0], target[1:]
    if sign == "@":
        return f"@{(label or rest).removeprefix('@')}"
    if sign == "#":
        return f"#{(label or rest).removeprefix('#')}"
    if sign == "!":
        # <!here>, <!subteam^S012|@name>, <!date^…|a date in words>
        return f"@{rest}" if rest in ("here", "channel", "everyone") or not label else label
    if not label:
        return target.removeprefix("mailto:")
    bare = next((target.removeprefix(each) for each in SCHEMES if target.startswith(each)), target)
    return label if label in (target, bare, bare.rstrip("/")) else f"{label} ({target})"
