"""Asks every database how it is, all at once, and never waits for longer than it was told to.

No setting of a server or driver ends a query on a server that hangs; only a deadline on this side does. So each alias
is asked in a thread of its own, which is left behind when it does not answer in time. While that thread hangs, nobody
starts another, but not for ever: a connection over a network that was cut and mended may hang for hours, while the
database answers a new one.
"""

import time
from collections import Counter
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event, Lock, Thread

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.monitoring.engines import Facts, Table, facts, sqlite_path
from routers.topology import topology

UP, DOWN = "up", "down"
PRIMARY, REPLICA = "primary", "replica"
PAGE_SECONDS = 2.0
# After so long a thread that hangs is given up, unless so many of its alias hang already.
GIVE_UP_SECONDS = 10.0
MAX_THREADS = 5


def labels_on(alias: str) -> tuple[str, ...]:
    """The installed apps that have their tables on an alias."""
    return tuple(sorted(topology().labels_on(alias) & {config.label for config in apps.get_app_configs()}))


@dataclass(frozen=True, kw_only=True)
class Status:
    """How one database is. `role` is the one really seen, `declared_role` that of the topology.

    `error` says why it is down, or why it is of no use although it is up; it holds no password.
    """

    alias: str
    cluster: str
    apps: tuple[str, ...]
    role: str
    declared_role: str
    state: str = DOWN
    engine: str = ""
    version: str = ""
    latency_ms: float | None = None
    size_bytes: int | None = None
    tables: tuple[Table, ...] = ()
    read_only: bool = False
    error: str = ""

    @property
    def is_up(self) -> bool:
        return self.state == UP

    @property
    def is_usable(self) -> bool:
        return self.is_up and not self.error

    @property
    def rows_text(self) -> str:
        """All rows together: "1,234", "about 1,200" or "unknown"."""
        counts = [table.rows for table in self.tables]
        if counts and all(count is None for count in counts):
            return "unknown"
        exact = None not in counts and all(table.exact for table in self.tables)
        return f"{'' if exact else 'about '}{sum(count or 0 for count in counts):,}"

    @property
    def remark(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        misplaced = f"declared as a {self.declared_role}, but it is a {self.role}"
        return "; ".join(filter(None, [misplaced if self.role != self.declared_role else "", self.error]))


def probe_all(*, timeout: float = PAGE_SECONDS) -> list[Status]:
    """The status of every alias of the topology, in its order, after at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    aliases = [alias for cluster in topology().clusters for alias in cluster.aliases]
    runs = [_run(alias) for alias in aliases]
    return [run.status_at(deadline, timeout) for run in runs]


class _Run:
    """One probe of one alias. `silent_since` is when the first of those began that hang one after another."""

    def __init__(self, alias: str, silent_since: datetime | None) -> None:
        self.alias = alias
        self.began = time.monotonic()
        self.silent_since = silent_since or datetime.now(tz=UTC)
        self.done = Event()
        self.status: Status | None = None
        # A context of its own: what it sends belongs to no request's ledger.
        self.thread = Thread(target=Context().run, args=(self.work,), name=f"probe-{alias}", daemon=True)

    def work(self) -> None:
        try:
            self.status = _probe(self.alias)
        finally:
            with _lock:
                _threads[self.alias] -= 1
                if _latest.get(self.alias) is self:
                    del _latest[self.alias]
            self.done.set()

    @property
    def is_given_up(self) -> bool:
        return time.monotonic() - self.began > GIVE_UP_SECONDS

    def status_at(self, deadline: float, timeout: float) -> Status:
        self.done.wait(max(deadline - time.monotonic(), 0))
        if self.status:
            return self.status
        waited = (datetime.now(tz=UTC) - self.silent_since).total_seconds()
        # Somebody has waited before, and it still hangs.
        since = f", silent since {self.silent_since:%H:%M:%S} UTC" if waited > timeout + 0.1 else ""
        return replace(_blank(self.alias), error=f"no answer within {timeout:.1f} s{since}")


_latest: dict[str, _Run] = {}
_threads: Counter[str] = Counter()
_lock = Lock()


def _run(alias: str) -> _Run:
    """The run under way, else a new one: a server that hangs shall not collect threads and connections."""
    with _lock:
        latest = _latest.get(alias)
        if latest is None or (latest.is_given_up and _threads[alias] < MAX_THREADS):
            latest = _Run(alias, latest.silent_since if latest else None)
            latest.thread.start()
            _latest[alias] = latest
            _threads[alias] += 1
        return latest


def _probe(alias: str) -> Status:
    try:
        connection = connections[alias]
        try:
            return _answer(connection)
        finally:
            _close(connection)
    except Exception as error:  # a driver that is missing, a setting that is wrong: down, whatever the reason
        return replace(_blank(alias), error=_message(alias, error))


def _answer(connection: BaseDatabaseWrapper) -> Status:
    path = sqlite_path(connection)
    if path and not path.exists():  # SQLite would make it
        raise FileNotFoundError("no such file")
    connection.ensure_connection()
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    latency = (time.perf_counter() - started) * 1000
    return _status(connection.alias, facts(connection), latency)


def _close(connection: BaseDatabaseWrapper) -> None:
    connection.close()
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.close()  # Django keeps a database in memory open


def _status(alias: str, found: Facts, latency: float) -> Status:
    blank = _blank(alias)
    seen = {None: blank.role, True: REPLICA, False: PRIMARY}[found.is_replica]
    cluster = topology().cluster_of_alias(alias)
    remedy = "load its schema" if cluster and cluster.read_only else "run migrate_all"
    return replace(
        blank,
        state=UP,
        role=seen,
        engine=found.engine,
        version=found.version,
        latency_ms=round(latency, 2),
        size_bytes=found.size_bytes,
        tables=found.tables,
        read_only=found.read_only or (seen == REPLICA) or bool(cluster and cluster.read_only),
        error="" if found.tables else f"empty: {remedy}",
    )


def _blank(alias: str) -> Status:
    cluster = topology().cluster_of_alias(alias)
    role = PRIMARY if cluster and alias == cluster.primary else REPLICA
    return Status(
        alias=alias,
        cluster=cluster.name if cluster else "",
        apps=labels_on(alias),
        role=role,
        declared_role=role,
        read_only=role == REPLICA or bool(cluster and cluster.read_only),
    )


def _message(alias: str, error: Exception) -> str:
    """The driver's own words (its last argument; MySQL's first is a number) in one line, without any password."""
    text = " ".join(str(error.args[-1] if error.args else error).split()) or type(error).__name__
    config = settings.DATABASES.get(alias, {})
    options = config.get("OPTIONS", {})
    for secret in (config.get("PASSWORD"), *(options.get(key) for key in ("password", "passwd", "passfile"))):
        text = text.replace(str(secret), "…") if secret else text
    return text[:300]
