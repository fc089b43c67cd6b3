"""The file behind a SQLite database."""

from pathlib import Path
from urllib.parse import unquote


def file_of(name: object) -> Path | None:
    """The file that a NAME in DATABASES stands for, a path or a file: URI; None for a database in memory."""
    text = str(name)
    if ":memory:" in text or "mode=memory" in text:
        return None
    return Path(unquote(text.removeprefix("file:").partition("?")[0]) if text.startswith("file:") else text)
