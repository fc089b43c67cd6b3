"""A site for a bench, on a PostgreSQL server of its own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.project.conftest import Site
from tests.servers.processes import Postgres

VARIABLES = ("DATABASE_URL", "USERS_DATABASE_URL", "ANALYTICS_DATABASE_URL")


@contextmanager
def site_on_postgres() -> Iterator[Site]:
    """Migrated and empty, with the cache on SQLite, and without a replica."""
    server = Postgres(standbys=0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            site = Site(Path(folder) / "var")
            site.env |= {name: server.url(server.create_database(name.lower())) for name in VARIABLES}
            site.manage("migrate_all", "--verbosity", "0")
            yield site
    finally:
        server.end()
