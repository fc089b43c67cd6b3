"""What every test may use."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from pytest_django import DjangoDbBlocker

from routers.topology import topology

CATCHES_UP_WITHIN = 10  # seconds
LONG = ("tests/servers/", "tests/browser/", "tests/project/")
CatchUp = Callable[[str], None]
READ_ONLY = {c.name: c.primary for c in settings.CLUSTERS if c.read_only}
REAL_NAMES = {alias: settings.DATABASES[alias]["NAME"] for alias in READ_ONLY.values()}


@pytest.hookimpl(trylast=True)  # after they are shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that no worker is left alone with it at the end.

    A test marked sqlite("users_db") is about that alias as a SQLite file, and is skipped where it is on a server.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for item in items:
        for alias in (alias for marker in item.iter_markers("sqlite") for alias in marker.args):
            if (vendor := connections[alias].vendor) != "sqlite":
                item.add_marker(pytest.mark.skip(reason=f"needs {alias} on SQLite, and it is on {vendor} in this run"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Django's test databases, and in the read-only ones somebody else's schema, which no migration makes."""
    for name, alias in READ_ONLY.items():
        if connections[alias].settings_dict["NAME"] == REAL_NAMES[alias]:
            continue  # no test asked for it
        schema = Path(settings.BASE_DIR, "apps", name, "sql/01_schema.sql").read_text()
        connection = connections[alias]
        with django_db_blocker.unblock():
            connection.ensure_connection()
            with closing(connection.connection.cursor()) as driver:  # past the guard
                for statement in connection.ops.prepare_sql_script(schema):
                    driver.execute(statement)


@pytest.fixture
def replicas_share_primary() -> Iterator[None]:
    """Let a replica alias use its primary's connection, so that it sees the rows of a test's open transaction.

    TEST["MIRROR"] gives it the primary's NAME but a connection of its own, which sees nothing of that transaction.
    """
    before = {alias: connections[alias] for cluster in settings.CLUSTERS for alias in cluster.replicas}
    for cluster in settings.CLUSTERS:
        for alias in cluster.replicas:
            connections[alias] = connections[cluster.primary]
    yield
    for alias, connection in before.items():
        connections[alias] = connection


@pytest.fixture
def catch_up() -> CatchUp:
    """Wait until a replica's alias shows what its primary has committed: at once on SQLite, where it is the same file.

    The test declares both aliases, and transaction=True, or nothing is ever committed.
    """

    def wait(replica: str) -> None:
        cluster = topology().cluster_of_alias(replica)
        assert cluster, f"{replica} is not in CLUSTERS"
        if connections[replica].vendor == "sqlite":
            return
        position = _ask(cluster.primary, "SELECT pg_current_wal_flush_lsn()")
        deadline = time.monotonic() + CATCHES_UP_WITHIN
        while not _ask(replica, "SELECT pg_last_wal_replay_lsn() >= %s", position):
            assert time.monotonic() < deadline, f"{replica} has not replayed {position}"
            time.sleep(0.005)

    return wait


def _ask(alias: str, sql: str, *params: Any) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]
