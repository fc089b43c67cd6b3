"""What the prober asks each engine, over a connection of its own."""

import logging
import time
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.health import PRIMARY, PROBE_DEADLINE, REPLICA, Health, in_one_line
from routers.sqlite import file_of

# Whole seconds are all that the MySQL driver knows.
MYSQL_SECONDS = 1
# The shortest that libpq takes.
CONNECT_SECONDS = 2

log = logging.getLogger(__name__)


def probe(alias: str) -> "Probe":
    """A new connection to the alias. Raises the driver's error."""
    wrapper = connections[alias]
    return _PROBES.get(wrapper.vendor, Probe)(wrapper)


class Probe:
    """A connection past Django's: no pool, no signal, no breaker, nothing that counts queries. Any engine."""

    question = "SELECT 1"

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.alias = wrapper.alias
        self.connection = self.connect(wrapper, wrapper.get_connection_params())

    def connect(self, wrapper: BaseDatabaseWrapper, params: dict[str, Any]) -> Any:
        return wrapper.get_new_connection(params)

    def ask(self, primary: Health) -> dict[str, Any]:
        """One short query. Returns what becomes of a Health; `primary` is what is known of the cluster's primary."""
        started = time.perf_counter()
        row = self.fetch()
        latency = round((time.perf_counter() - started) * 1000, 2)
        return {"latency_ms": latency, **self.read(row, primary)}

    def fetch(self) -> Any:
        cursor = self.connection.cursor()
        try:
            cursor.execute(self.question)
            return cursor.fetchone()
        finally:
            cursor.close()

    def read(self, row: Any, primary: Health) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.connection.close()


class SQLiteProbe(Probe):
    """Opens the file anew at each look, for one that has been opened goes on answering when it is no longer there."""

    question = "PRAGMA schema_version"

    def connect(self, wrapper: BaseDatabaseWrapper, params: dict[str, Any]) -> Any:
        self.wrapper, self.params = wrapper, params | {"timeout": PROBE_DEADLINE}

    def fetch(self) -> Any:
        file = file_of(self.params["database"])
        if file and not file.exists():  # SQLite would make it
            raise FileNotFoundError("no such file")
        self.connection = self.wrapper.get_new_connection(self.params)
        try:
            return super().fetch()
        finally:
            self.connection.close()

    def close(self) -> None:
        pass


class MySQLProbe(Probe):
    def connect(self, wrapper: BaseDatabaseWrapper, params: dict[str, Any]) -> Any:
        limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), MYSQL_SECONDS)
        return wrapper.get_new_connection(params | limits)


class PostgreSQLProbe(Probe):
    """By the account of settings.DATABASE_PROBE, if there is one: not every role may see what a WAL receiver does."""

    question = """
        SELECT r.standby,
               CASE WHEN NOT r.standby THEN pg_current_wal_flush_lsn() - '0/0' END::bigint,
               CASE WHEN NOT r.standby
                    THEN ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int
                    ELSE GREATEST(w.received_tli, c.timeline_id, m.min_recovery_end_timeline) END,
               (pg_last_wal_receive_lsn() - '0/0')::bigint,
               (pg_last_wal_replay_lsn() - '0/0')::bigint,
               extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
               w.pid IS NOT NULL, w.status
          FROM pg_is_in_recovery() AS r (standby), pg_control_checkpoint() c, pg_control_recovery() m
               LEFT JOIN pg_stat_wal_receiver w ON true
    """
    _caught_up: float | None = None

    def connect(self, wrapper: BaseDatabaseWrapper, params: dict[str, Any]) -> Any:
        # Here, because where there is no PostgreSQL there may be no driver.
        from psycopg import OperationalError
        from psycopg.errors import ConnectionTimeout

        from routers.backends.postgresql.deadline import DeadlineConnection

        params |= {"autocommit": True, "connect_timeout": CONNECT_SECONDS}
        account = {key.lower(): value for key, value in getattr(settings, "DATABASE_PROBE", {}).items() if value}
        if account:  # which tells nothing about that of the visitors, who must be let in, too
            DeadlineConnection.connect(**params).close()
        try:
            connection = DeadlineConnection.connect(**params | account)
        except OperationalError as error:
            if not account or isinstance(error, ConnectionTimeout):
                raise
            # Nobody shall be refused because an account is wrong that no visitor needs.
            connection = DeadlineConnection.connect(**params)
            log.warning(
                "%s refused the account of DATABASE_PROBE_USER, so it is looked at by its own: %s",
                self.alias, in_one_line(self.alias, error), extra={"alias": self.alias},
            )  # fmt: skip
        connection.alias, connection.deadline = f"the prober's connection to {self.alias}", PROBE_DEADLINE
        return connection

    def read(self, row: Any, primary: Health) -> dict[str, Any]:
        standby, flushed, timeline, received, replayed, seconds, has_receiver, status = row
        if not standby:
            return {"role": PRIMARY, "timeline": timeline, "flushed": flushed}
        # An account without pg_read_all_stats sees that there is a receiver, and not what it does.
        is_streaming = status == "streaming" if status or not has_receiver else None
        # Positions on different timelines say nothing to each other.
        same = timeline is None or timeline == primary.timeline
        behind = _behind(received if is_streaming else None, primary.flushed if same else None, replayed)
        return {
            "role": REPLICA,
            "timeline": timeline,
            "received": received,
            "replayed": replayed,
            "is_streaming": is_streaming,
            "lag_bytes": behind,
            "lag_seconds": self._seconds_behind(behind, seconds),
        }

    def _seconds_behind(self, behind: int | None, seconds: float | None) -> float | None:
        """The age of the last transaction that was replayed, which says nothing on a replica that has replayed all: its
        primary was idle. Nor can what is missing be older than the last time when nothing was."""
        now = time.monotonic()
        if not behind:
            self._caught_up = now if behind == 0 else self._caught_up
            return behind
        ages = [age for age in (seconds, self._caught_up and now - self._caught_up) if age is not None]
        return round(max(min(ages), 0), 3) if ages else None


def _behind(received: int | None, flushed: int | None, replayed: int | None) -> int | None:
    """Bytes from what a replica has replayed to the furthest that it has received, or its primary is known to have."""
    heads = [head for head in (received, flushed) if head is not None]
    return max(max(heads) - replayed, 0) if heads and replayed is not None else None


_PROBES: dict[str, type[Probe]] = {"sqlite": SQLiteProbe, "mysql": MySQLProbe, "postgresql": PostgreSQLProbe}
