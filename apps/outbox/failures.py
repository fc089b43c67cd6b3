"""What is kept of an exception: enough to find the cause, and nothing that the message carries."""

import json
import re
from collections.abc import Iterator
from typing import Any

LENGTH = 500


def describe(error: Exception, payload: Any) -> str:
    """The class and the first line of the text, in which every value of the payload that is quoted is "…". (What
    PostgreSQL adds in the lines after it quotes rows.)"""
    text = str(error)
    quoted = {each for value in _values(payload) for each in _quotations(value)}
    for each in sorted(quoted, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", "…", text, flags=re.IGNORECASE)
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


def _quotations(value: str) -> tuple[str, ...]:
    """As it is, and as Python and JSON write it between quotation marks."""
    return value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
