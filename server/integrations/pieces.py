"""Texts that are longer than a message: as several messages that belong together.

Elsewhere a text may be longer: 4,096 characters by WhatsApp, 40,000 in Slack. Its author cannot send it again.
"""

import unicodedata
from collections.abc import Sequence

from server.messages import MAX_TEXT, KeyReused, Message, MessageService, NewMessage, Source
from server.validation import validated


async def post(
    service: MessageService, source: Source, key: str, texts: Sequence[str], author: str, reply_to: str | None = None
) -> Message | None:
    """Store `texts`, all but the first as replies to it; return the first, or None if there is none.

    Each has a key that begins with `key`, so whoever sends all of them again, because the database was away in the
    middle, stores what is missing. Returns None too if another text is stored under the key. Raises `StoreUnavailable`.
    """
    first: Message | None = None
    for number, text in enumerate(texts, start=1):
        given = {"text": text, "reply_to": reply_to if first is None else first.id} | (
            {"author": author} if author else {}
        )
        try:
            message, _ = await service.post(
                validated(NewMessage, given, "the text"), source, key if number == 1 else f"{key}:{number}"
            )
        except KeyReused:
            if first is None:
                return None
        else:
            first = first or message
    return first


def split(text: str) -> list[str]:
    """The text in pieces that a message can hold, cut behind white space where there is some, and never in a character.

    Pieces in which nothing shows are left out; together the others are the text.
    """
    found = []
    while text:
        cut = _cut(text)
        if text[:cut].strip():
            found.append(text[:cut])
        text = text[cut:]
    return found


def _cut(text: str) -> int:
    if len(text) <= MAX_TEXT:
        return len(text)
    behind_space = max(text.rfind(each, MAX_TEXT * 3 // 4, MAX_TEXT) for each in " \n") + 1
    if behind_space:
        return behind_space
    cut = MAX_TEXT
    while cut > MAX_TEXT - 32 and _belong_together(text[cut - 1], text[cut]):
        cut -= 1
    return cut


def _belong_together(one: str, next_: str) -> bool:
    """Whether two characters may be one sign: a letter with its accents, an emoji with what changes it."""
    joiner = "\N{ZERO WIDTH JOINER}"
    changes = unicodedata.combining(next_) or unicodedata.category(next_) in ("Mn", "Me", "Mc", "Sk")
    flag = "\N{REGIONAL INDICATOR SYMBOL LETTER A}" <= next_ <= "\N{REGIONAL INDICATOR SYMBOL LETTER Z}"
    return bool(changes) or joiner in (one, next_) or flag
