"""Which databases served a request, and why.

One execute_wrapper on every connection writes to the Ledger of the request at hand, which a ContextVar holds. It sees
the SQL with its placeholders; the values (session keys, password hashes) it never looks at.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from routers import state
from routers.topology import topology

MAX_STATEMENTS = 200
MAX_SQL = 2_000
# A wide SELECT names its table late.
MAX_SEARCHED = 50_000
MAX_NOTES = 50

EXPLICIT = "explicit: .using() or a cursor, no router was asked"
TRANSACTION = "transaction"

_NAME = r'(?:"([^"]+)"|`([^`]+)`|([\w$]++)(?!\())'
_TABLE = re.compile(rf"\b(?:FROM|INTO|UPDATE)\s+(?:ONLY\s+)?{_NAME}(?:\.{_NAME})?", re.I)
_TRANSACTION = re.compile(r"\s*(?:BEGIN|START|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b", re.I)

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]
slow_log = logging.getLogger("apps.monitoring.slow")


@dataclass(frozen=True)
class Statement:
    """One statement as it was sent. `times` is how often: executemany sends one for each set of parameters."""

    sql: str
    reason: str
    milliseconds: float
    times: int
    failed: bool


@dataclass
class Account:
    """What one database did for the request."""

    alias: str
    queries: int = 0
    failed: int = 0
    milliseconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    statements: list[Statement] = field(default_factory=list)

    @property
    def queries_text(self) -> str:
        return queries_text(self.queries)

    @property
    def reason_counts(self) -> list[tuple[str, int]]:
        # Not for the template to call .items(): to a Counter every name is a key, with 0 behind it.
        return list(self.reasons.items())

    @property
    def unshown(self) -> int:
        return self.queries - len(self.statements)


@dataclass
class Ledger:
    """The accounts of one request, by alias, and the remarks of those who served it."""

    by_alias: dict[str, Account] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kept: int = 0

    def enter(self, alias: str, statement: Statement) -> None:
        account = self.by_alias.setdefault(alias, Account(alias))
        account.queries += 1
        account.failed += statement.failed
        account.milliseconds += statement.milliseconds
        account.reasons[statement.reason] += 1
        if self.kept < MAX_STATEMENTS:
            self.kept += 1
            account.statements.append(statement)

    @property
    def accounts(self) -> list[Account]:
        """In the order of the topology, a primary before its replicas."""
        order = [alias for cluster in topology().clusters for alias in cluster.aliases]
        return sorted(self.by_alias.values(), key=lambda a: order.index(a.alias) if a.alias in order else len(order))

    @property
    def queries_text(self) -> str:
        return queries_text(sum(account.queries for account in self.by_alias.values()))

    @property
    def milliseconds(self) -> float:
        return sum(account.milliseconds for account in self.by_alias.values())

    def server_timing(self) -> str:
        """The value of a Server-Timing header; empty when no database was asked."""
        return ", ".join(
            f'db-{re.sub(r"[^A-Za-z0-9_-]", "_", a.alias)};desc="{a.queries_text}";dur={a.milliseconds:.1f}'
            for a in self.accounts
        )


_ledger: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextmanager
def open_ledger() -> Iterator[Ledger]:
    """Count what is sent inside the block, in this context only."""
    ledger = Ledger()
    token = _ledger.set(ledger)
    try:
        yield ledger
    finally:
        _ledger.reset(token)


def note(text: str) -> None:
    """Add a sentence to the ledger of the request at hand, where there is one."""
    ledger = _ledger.get()
    if ledger and len(ledger.notes) < MAX_NOTES:
        ledger.notes.append(text)


def queries_text(number: int) -> str:
    return f"{number} {'query' if number == 1 else 'queries'}"


def observe(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """An execute_wrapper that changes nothing: it times the statement, for the ledger and for the slow log."""
    ledger, limit = _ledger.get(), settings.SLOW_QUERY_MS
    if ledger is None and not limit:
        return execute(sql, params, many, context)
    started, failed = perf_counter(), True
    try:
        result = execute(sql, params, many, context)
        failed = False
        return result
    finally:
        elapsed = (perf_counter() - started) * 1000
        alias = context["connection"].alias
        if limit and elapsed >= limit:
            slow_log.warning("%.0f ms: %s", elapsed, _shown(sql), extra={"alias": alias})
        if ledger is not None:
            times = len(params) if many and hasattr(params, "__len__") else 1
            ledger.enter(alias, Statement(_shown(sql), reason(alias, sql), elapsed, times, failed))


def observe_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receiver of connection_created: put the observer on each connection, once."""
    if observe not in connection.execute_wrappers:
        # In front: connection.execute_wrapper() takes the last one off when its block ends, whichever that is by then.
        connection.execute_wrappers.insert(0, observe)


def reason(alias: str, sql: Any) -> str:
    """Why this statement went to this alias, by what the routers answered for one of its tables."""
    sql = _text(sql)[:MAX_SEARCHED]
    if _TRANSACTION.match(sql):
        return TRANSACTION
    decided = state.current()
    found = (decided.reason_for(alias, table) for table in _tables(sql)) if decided else ()
    return next(filter(None, found), EXPLICIT)


def _tables(sql: str) -> Iterator[str]:
    """The names after FROM, INTO and UPDATE, those of subqueries included: a queryset asks a router once for its model,
    and a subquery may stand before that. Two names where it is "a"."b": a is a schema, or b is a column
    (`EXTRACT(YEAR FROM "table"."column")`)."""
    return (name for match in _TABLE.finditer(sql) for name in match.groups() if name)


def _text(sql: Any) -> str:
    # A psycopg Composable holds its values; nothing but a string is known to have placeholders.
    return sql if isinstance(sql, str) else f"<{type(sql).__name__}>"


def _shown(sql: Any) -> str:
    text = _text(sql)
    return text if len(text) <= MAX_SQL else text[: MAX_SQL - 1] + "…"
