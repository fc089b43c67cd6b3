"""What can be told of a statement by its text alone."""

import re
from collections.abc import Callable
from typing import Any

# What Django hands to an execute_wrapper to send the statement on.
Execute = Callable[[str, Any, bool, dict[str, Any]], Any]

_READ = re.compile(
    r"[\s(]*(SELECT|WITH|VALUES|SHOW|DESCRIBE|EXPLAIN|PRAGMA|SET|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", re.I
)
# INTO also makes tables and files, and after a semicolon comes another statement.
_WRITE_INSIDE = re.compile(r"\b(INSERT|INTO|UPDATE|DELETE|CREATE)\b|;\s*\S", re.I)
# Most statements have none of these, which is ten times as fast to see.
_HINTS = ("INSERT", "INTO", "UPDATE", "DELETE", "CREATE", ";")
# Only of these is it worth the while to look behind a comment, or for words in what says nothing.
_MAY_READ = re.compile(rf"{_READ.pattern}|[\s(]*(COPY\b|--|/\*)", re.I)

# What writes nothing whatever it says: names, texts and comments.
_SAYS_NOTHING = re.compile(
    r"""'[^']*'|"[^"]*"|`[^`]*`|(?<![\w$])\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
    r"|--(?=\s|$)[^\n]*|/\*(?!M?!)(?:(?!/\*).)*?\*/",
    re.I | re.S,
)
# Where engines differ in what is a comment, one of them sends what another one skips: "/*!" is code to MySQL and "/*M!"
# to MariaDB, "--" is a comment to them before a space only, and "#" to nobody else; PostgreSQL nests "/*".
_DOUBTFUL = re.compile(r"/\*|--|#(?!>)")
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.I)
_COPIED_OUT = re.compile(r"\s*COPY\b(?=.*\bTO\s+STDOUT\b)", re.I | re.S)

# What a write does to which table, or its first word, and none of its values.
_WRITTEN = re.compile(
    r"\s*((?:INSERT|REPLACE|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP)"
    r"(?:\s+(?:OR\s+\w+|IGNORE|INTO|FROM|TABLE|ONLY))*\s+[\"`]?([\w$.]+)|\w+)",
    re.I,
)


def is_read(sql: Any) -> bool:
    """Whether the statement is known to be a read. A CTE that writes is not, nor is a lock, nor a doubtful one."""
    return isinstance(sql, str) and bool(_MAY_READ.match(sql)) and (_reads(sql) or _reads(_bare(sql)))


def is_write(sql: Any) -> bool:
    """Whether the statement may change rows. Unlike for is_read(), a lock is no write, nor is what COPY sends us."""
    if not isinstance(sql, str) or not _MAY_READ.match(sql):
        return True
    return not (_reads(sql) or _reads(_COPIED_OUT.sub("SELECT", _LOCKS.sub(" ", _bare(sql)))))


def _reads(sql: str) -> bool:
    upper = sql.upper()
    return bool(_READ.match(sql)) and not (any(hint in upper for hint in _HINTS) and _WRITE_INSIDE.search(sql))


def _bare(sql: str) -> str:
    """What is left without names, texts and comments; nothing, where it is in doubt what those are."""
    bare = _SAYS_NOTHING.sub(" ", sql)
    # A backslash may or may not escape the quote behind it.
    return "" if "\\" in sql or _DOUBTFUL.search(bare) else bare


def what_is_written(sql: Any) -> tuple[str, str | None]:
    """What a statement does to which table, as in "DELETE FROM blog_post", and the table; or its first word, None."""
    found = _WRITTEN.match(sql) if isinstance(sql, str) else None
    return (re.sub(r"[\"`]", "", found[1]), found[2]) if found else ("", None)
