"""What no field can see, caught at the connection: a statement that names tables of two databases.

Exists(), a queryset in the lookup of a plain column, a union, raw SQL. Where both databases happen to be one, as in
somebody's tests, such a statement works, and it fails on the day they are separated. On where CROSS_DATABASE_SQL_GUARD
is: in tests, DEBUG and DEMO.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.relations import CrossDatabaseJoin, places
from routers.statements import Execute

NAME = r'(?:"[^"]+"|`[^`]+`|\[[^\]]+\]|[^\W\d]\w*)'
# What is no name comes first, so that no name is found inside it.
PATTERN = r"""
      {text} | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | (?i:with\s+(?:ordinality|time))\b
    | (?P<name>{name}(?:\s*\.\s*{name})*)
    | (?P<mark>[(),;])
"""
WITH_BACKSLASHES = r"'(?:[^'\\]|\\.|'')*'"
STANDARD = rf"[eE]{WITH_BACKSLASHES} | '(?:[^']|'')*'"
TOKENS = {
    is_mysql: re.compile(PATTERN.format(text=text, name=NAME), re.VERBOSE | re.DOTALL)
    for is_mysql, text in ((True, WITH_BACKSLASHES), (False, STANDARD))
}
PART = re.compile(NAME)
# A step of a WITH, up to the parenthesis that opens its body.
STEP = re.compile(
    r'["`\[]?(\w+)["`\]]?\s*(?:\([^()]*\)\s*)?\bAS\s*(?:(?:NOT\s+)?MATERIALIZED\s*)?(?=\()', re.IGNORECASE
)
# After these comes a table, and after those no table comes any more, whatever commas there are.
BEFORE_TABLE = frozenset({"from", "join", "into", "update", "using", "table", "truncate", "references"})
BETWEEN = frozenset({"only", "lateral", "if", "not", "exists"})
AFTER_TABLES = frozenset(
    {"where", "set", "values", "select", "group", "order", "having", "limit", "window", "union", "returning", "with"}
)


def refuse_joins(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """An execute_wrapper that refuses a statement which names tables of two clusters. Raises CrossDatabaseJoin."""
    text = sql.as_string(None) if hasattr(sql, "as_string") else str(sql)
    connection = context["connection"]
    if message := _why_not(text, is_mysql=connection.vendor == "mysql"):
        raise CrossDatabaseJoin(f"On {connection.alias}, {message}")
    return execute(sql, params, many, context)


def guard_joins(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receiver of connection_created: put the guard on each connection, once, where the setting says so."""
    wanted = getattr(settings, "CROSS_DATABASE_SQL_GUARD", False)
    if wanted and refuse_joins not in connection.execute_wrappers:
        # In front, as in routers.guards.
        connection.execute_wrappers.insert(0, refuse_joins)


def tables_named(sql: str, *, is_mysql: bool = False) -> Iterator[str]:
    """The known tables that a statement reads or writes, in lower case; not what only looks like their names: text,
    comments, columns, aliases, and steps of a WITH."""
    steps = {found.end(): found[1].lower() for found in STEP.finditer(sql)}
    levels = [_Level()]
    for token in TOKENS[is_mysql].finditer(sql):
        if token["mark"]:
            _step(levels, token["mark"], steps.get(token.start(), ""))
        elif token["name"]:
            table = levels[-1].table_in(token["name"].lower())
            if table and not any(table in level.steps for level in levels):
                yield table


class _Level:
    """Where in a statement, or in the parentheses that are open, the next name stands."""

    def __init__(self, *, expecting: bool = False, step: str = "") -> None:
        self.expecting, self.in_list = expecting, expecting
        # Of which step of a WITH this is the body; and the steps whose names hide tables here.
        self.step, self.steps, self.is_recursive = step, set[str](), False

    def table_in(self, name: str) -> str | None:
        """The known table that the name means where it stands, if any."""
        if name in BEFORE_TABLE or name in AFTER_TABLES:
            self.expecting = self.in_list = name in BEFORE_TABLE
        elif name == "recursive":
            self.is_recursive = True
        elif self.expecting and name not in BETWEEN:
            self.expecting = False
            parts = [part.strip('"`[]') for part in PART.findall(name)]
            # A schema may come before it. After a table comes a column: EXTRACT(… FROM table.column).
            return next((part for part in (parts[0], parts[-1]) if part in _places_of_tables()), None)
        return None


def _step(levels: list[_Level], mark: str, step: str) -> None:
    if mark == "(":
        if levels[-1].is_recursive:
            levels[-1].steps.add(step)
        levels.append(_Level(expecting=levels[-1].expecting, step=step))
    elif mark == ")" and len(levels) > 1:
        # A step hides the table of its name only now: in its own body, the name is the table's.
        step = levels.pop().step
        levels[-1].expecting = False
        levels[-1].steps.add(step)
    elif mark == ";":
        levels[:] = [_Level()]
    elif mark == ",":
        levels[-1].expecting = levels[-1].in_list


@lru_cache(maxsize=2_000)
def _why_not(sql: str, *, is_mysql: bool) -> str:
    """The sentence that refuses the statement; empty for almost all, and those are cheap."""
    lower, known = sql.lower(), _places_of_tables()
    if _share_a_place(known[table] for table in known if table in lower):
        return ""
    named = {table: known[table] for table in tables_named(sql, is_mysql=is_mysql)}
    if _share_a_place(named.values()):
        return ""
    where = ", ".join(f"{table} ({' and '.join(sorted(found))})" for table, found in named.items())
    return (
        f"one statement names tables of two databases: {where}. Where they are two, it fails. Make it two statements: "
        "fetch the ids from one, as a list, and ask the other by them; for rows to show, use prefetch_related()."
    )


def _share_a_place(found: Iterable[frozenset[str]]) -> bool:
    found = list(found)
    return not found or bool(frozenset.intersection(*found))


@cache
def _places_of_tables() -> dict[str, frozenset[str]]:
    """The primaries that hold each table, by its name in lower case; several for a shared app's."""
    known: dict[str, frozenset[str]] = {}
    for model in apps.get_models(include_auto_created=True):
        table = model._meta.db_table.lower()
        known[table] = known.get(table, frozenset()) | frozenset(places(model))
    return {table: found for table, found in known.items() if found}


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CLUSTERS", "SHARED_APPS", "INSTALLED_APPS"):
        _places_of_tables.cache_clear()
        _why_not.cache_clear()


setting_changed.connect(_forget)
