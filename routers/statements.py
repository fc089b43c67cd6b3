"""What can be told of a statement by its text alone."""

import re
from collections.abc import Callable
from typing import Any

# What Django hands to an execute_wrapper to send the statement on.
Execute = Callable[[str, Any, bool, dict[str, Any]], Any]

_READ = re.compile(
    r"\s*(SELECT|WITH|VALUES|SHOW|DESCRIBE|EXPLAIN|PRAGMA|SET|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", re.I
)
# INTO also makes tables and files, and after a semicolon comes another statement.
_WRITE_INSIDE = re.compile(r"\b(INSERT|INTO|UPDATE|DELETE|CREATE)\b|;\s*\S", re.I)
# Most statements have none of these, which is ten times as fast to see.
_HINTS = ("INSERT", "INTO", "UPDATE", "DELETE", "CREATE", ";")

# What writes nothing whatever it says: names, texts, comments (one with a "!" is code to MySQL), and the locks of rows.
_SAYS_NOTHING = re.compile(
    r"""'[^']*'|"[^"]*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*(?!!).*?\*/"""
    r"|\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b",
    re.I | re.S,
)
_COPIED_OUT = re.compile(r"\s*COPY\b(?=.*\bTO\s+STDOUT\b)", re.I | re.S)

# What a write does to which table, or its first word, and none of its values.
_WRITTEN = re.compile(
    r"\s*((?:INSERT|REPLACE|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP)"
    r"(?:\s+(?:OR\s+\w+|IGNORE|INTO|FROM|TABLE|ONLY))*\s+[\"`]?([\w$.]+)|\w+)",
    re.I,
)


def is_read(sql: Any) -> bool:
    """Whether the statement is known to be a read. A CTE that writes is not; a doubtful one is not either."""
    return isinstance(sql, str) and bool(_READ.match(sql)) and not _writes_inside(sql)


def is_write(sql: Any) -> bool:
    """Whether the statement may change rows. Unlike for is_read(), a lock is no write, nor is the word in a text."""
    if is_read(sql):
        return False
    # A backslash may or may not escape the quote behind it.
    if not isinstance(sql, str) or "\\" in sql:
        return True
    return not is_read(_COPIED_OUT.sub("SELECT", _SAYS_NOTHING.sub(" ", sql)))


def _writes_inside(sql: str) -> bool:
    upper = sql.upper()
    return any(hint in upper for hint in _HINTS) and bool(_WRITE_INSIDE.search(sql))


def what_is_written(sql: Any) -> tuple[str, str | None]:
    """What a statement does to which table, as in "DELETE FROM blog_post", and the table; or its first word, None."""
    found = _WRITTEN.match(sql) if isinstance(sql, str) else None
    return (re.sub(r"[\"`]", "", found[1]), found[2]) if found else ("", None)
