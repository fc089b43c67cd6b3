"""Real servers for the tests of this room, and sites whose databases are on them."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker

from config.settings.databases import parse_url
from tests.project.conftest import Site
from tests.servers.processes import Missing, MySQL, Postgres

PRIMARIES = {"default": "blog", "users_db": "users", "analytics_db": "analytics"}
Connect = Callable[[str], BaseDatabaseWrapper]
_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    yield from _running(Postgres)


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL]:
    yield from _running(MySQL)


def _running(kind: Callable[[], Any]) -> Iterator[Any]:
    try:
        servers = kind()
    except Missing as missing:
        pytest.skip(str(missing))
    yield servers
    servers.end()


def site_on(postgres: Postgres, folder: Path) -> Site:
    """A site on three empty databases of the primary, with its replicas on the first standby, if there is one."""
    number = next(_numbers)
    names = [postgres.create_database(f"{name}_{number}") for name in PRIMARIES.values()]
    variables = ("DATABASE_URL", "USERS_DATABASE_URL", "ANALYTICS_DATABASE_URL")
    env = {variable: postgres.url(name) for variable, name in zip(variables, names, strict=True)}
    for standby in postgres.standbys[:1]:
        env |= {"READ_REPLICA_URLS": standby.url(names[0]), "USERS_REPLICA_URLS": standby.url(names[1])}
    return Site(folder / "var", env=env)


@pytest.fixture
def postgres_site(postgres: Postgres, tmp_path: Path) -> Site:
    """A site with empty databases on PostgreSQL, and SQLite files for the old system and the cache."""
    return site_on(postgres, tmp_path)


@pytest.fixture(scope="session")
def migrated_site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same with every table, shared: read it, do not change it."""
    site = site_on(postgres, tmp_path_factory.mktemp("migrated"))
    site.manage("migrate_all", "--verbosity", "0")
    return site


@pytest.fixture
def servers_site(postgres_site: Site, mysql: MySQL) -> Site:
    """A site with empty databases on PostgreSQL and its standby, the old system on MySQL, the cache on SQLite."""
    postgres_site.env["LEGACY_DATABASE_URL"] = mysql.url()
    return postgres_site


@pytest.fixture(scope="session")
def filled_site(postgres: Postgres, mysql: MySQL, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same, migrated and filled with the demo's content, which the standby has as well; shared."""
    site = site_on(postgres, tmp_path_factory.mktemp("filled"))
    site.env["LEGACY_DATABASE_URL"] = mysql.url()
    site.manage("migrate_all", "--verbosity", "0")
    site.manage("seed_demo", "--events=900", "--verbosity", "0")
    postgres.catch_up()
    return site


@pytest.fixture
def connect(django_db_blocker: DjangoDbBlocker) -> Iterator[Connect]:
    """Django's connection to a URL, in this process and under the alias `default`; one a call, closed at the end."""
    made = []

    def connection(url: str) -> BaseDatabaseWrapper:
        made.append(ConnectionHandler({DEFAULT_DB_ALIAS: parse_url("URL", url)})[DEFAULT_DB_ALIAS])
        return made[-1]

    with django_db_blocker.unblock():
        yield connection
        for one in made:
            one.close()


def python(site: Site, code: str) -> Any:
    """Run code in the site's own process; returns what it leaves in `answer`, by way of JSON."""
    code = f"{code}\nimport json; print(json.dumps(answer))"
    said = site.manage("shell", "--no-imports", "--command", code)
    return json.JSONDecoder().raw_decode(said)[0]  # what follows are log lines
