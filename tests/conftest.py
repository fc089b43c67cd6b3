"""What every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from pytest_django import DjangoDbBlocker

READ_ONLY = {c.name: c.primary for c in settings.CLUSTERS if c.read_only}
REAL_NAMES = {alias: settings.DATABASES[alias]["NAME"] for alias in READ_ONLY.values()}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Django's test databases, and in the read-only ones somebody else's schema, which no migration makes."""
    for name, alias in READ_ONLY.items():
        if connections[alias].settings_dict["NAME"] == REAL_NAMES[alias]:
            continue  # no test asked for it
        with django_db_blocker.unblock(), connections[alias].cursor() as cursor:
            schema = Path(settings.BASE_DIR, "apps", name, "sql/01_schema.sql").read_text()
            cursor.connection.executescript(schema)


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
