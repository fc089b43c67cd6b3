"""One migration run at a time for each database, across processes and machines."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.sqlite import file_of

# Any constant will do, as long as nothing else in the database uses the same one.
LOCK_NAME = "migrate_all"
LOCK_KEY = 6_204_139


class LockTimeout(Exception):
    """Another run held the lock for longer than we were ready to wait."""


@contextmanager
def migration_lock(connection: BaseDatabaseWrapper, *, timeout: float, poll: float = 0.1) -> Iterator[None]:
    """Hold the migration lock of this connection's database. Raises LockTimeout after `timeout` seconds.

    It polls: a session that waits inside pg_advisory_lock() has an open snapshot, and CREATE INDEX CONCURRENTLY in the
    session that holds the lock waits for that snapshot, so that both would wait for ever.
    """
    acquire, release = _LOCKS[connection.vendor](connection)
    deadline = time.monotonic() + timeout
    while not acquire():
        if time.monotonic() >= deadline:
            raise LockTimeout(
                f"Another migration run has held the lock on {connection.alias} for {timeout:.0f} s. "
                "Wait for it to end, or raise --lock-timeout."
            )
        time.sleep(poll)
    try:
        yield
    finally:
        # A session that was lost has lost its lock as well, and what ended it is the error to show.
        with suppress(Error):
            release()


Lock = tuple[Callable[[], bool], Callable[[], object]]


def _statements(connection: BaseDatabaseWrapper, acquire: str, release: str, key: int | str) -> Lock:
    def run(sql: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(sql, [key])
            return bool(cursor.fetchone()[0])

    return lambda: run(acquire), lambda: run(release)


def _postgresql(connection: BaseDatabaseWrapper) -> Lock:
    return _statements(connection, "SELECT pg_try_advisory_lock(%s)", "SELECT pg_advisory_unlock(%s)", LOCK_KEY)


def _mysql(connection: BaseDatabaseWrapper) -> Lock:
    # Its locks have one name for the whole server.
    return _statements(
        connection,
        "SELECT GET_LOCK(CONCAT(%s, DATABASE()), 0)",
        "SELECT RELEASE_LOCK(CONCAT(%s, DATABASE()))",
        LOCK_NAME,
    )


def _sqlite(connection: BaseDatabaseWrapper) -> Lock:
    file = file_of(connection.settings_dict["NAME"])
    if file is None:  # in memory, where nobody else can reach it
        return lambda: True, lambda: None
    path = file.with_name(f"{file.name}.{LOCK_NAME}.lock")
    path.touch(mode=0o600)
    held = []

    def acquire() -> bool:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        held.append(lock)
        return True

    # The file stays: removing it would let a waiting process and a new one each lock a file of its own.
    return acquire, lambda: held.pop().close()


_LOCKS: dict[str, Callable[[BaseDatabaseWrapper], Lock]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "sqlite": _sqlite,
}
