"""What is kept of an exception: enough to find the cause, and nothing that the message carries."""

import re
from collections.abc import Iterator
from typing import Any

LENGTH = 500


def describe(error: Exception, payload: Any) -> str:
    """The class and the first line of the text, in which every value of the payload is "…". (What PostgreSQL adds in
    the lines after it quotes rows.)"""
    text = str(error)
    for value in sorted(set(_values(payload)), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
    # Not before, or the first line of a value would no longer be recognised.
    first = next(iter(text.splitlines()), "")
    return _storable(f"{type(error).__name__}: {first}")[:LENGTH]


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and no encoding half a surrogate pair, which stands for a byte that was no text."""
    return text.replace("\0", r"\0").encode(errors="backslashreplace").decode()


def _values(payload: Any) -> Iterator[str]:
    if isinstance(payload, dict):
        payload = list(payload.values())
    if isinstance(payload, list):
        for each in payload:
            yield from _values(each)
    elif payload != "" and payload is not None and not isinstance(payload, bool):
        yield str(payload)
