"""Real servers for the tests of this room, and sites whose databases are on them."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker

from config.settings.databases import parse_url
from routers.topology import topology
from tests.project.conftest import Site
from tests.servers.processes import Missing, MySQL, Postgres, PostgresWithRoles, password_of

VARIABLES = {"default": "DATABASE_URL", "users_db": "USERS_DATABASE_URL", "analytics_db": "ANALYTICS_DATABASE_URL"}
# What docker/postgres/roles.sql calls the database of each; its accounts are named after it.
NAMES = {"default": "blog", "users_db": "users", "analytics_db": "analytics"}
EVENTS = 900
Connect = Callable[[str], BaseDatabaseWrapper]
_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    yield from running(Postgres)


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL]:
    yield from running(MySQL)


def running(kind: Callable[[], Any]) -> Iterator[Any]:
    """The servers, for as long as the fixture lives; a test that needs them is skipped where there are none."""
    try:
        servers = kind()
    except Missing as missing:
        pytest.skip(str(missing))
    yield servers
    servers.end()


@contextmanager
def hung(*pids: int) -> Iterator[None]:
    """Stop these processes for as long as the block lasts: their connections stay open, and answer nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def site_on(postgres: Postgres, folder: Path, *, like: Site | None = None) -> Site:
    """A site on three databases of the primary, its replicas on the first standby: empty, or copies of another's."""
    number = next(_numbers)
    env = {}
    for alias, variable in VARIABLES.items():
        template = database_name(like, alias) if like else "template1"
        env[variable] = postgres.url(postgres.create_database(f"{alias}_{number}", like=template))
    site = Site(folder / "var", env=env)
    for standby in postgres.standbys[:1]:
        site.env["READ_REPLICA_URLS"] = standby.url(database_name(site, "default"))
        site.env["USERS_REPLICA_URLS"] = standby.url(database_name(site, "users_db"))
    if like:
        shutil.copytree(like.var, site.var)
    return site


def database_name(site: Site, alias: str) -> str:
    """What the server calls the database of an alias."""
    return urlsplit(site.env[VARIABLES[alias]]).path.removeprefix("/")


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
def migrated_copy(postgres: Postgres, migrated_site: Site, tmp_path: Path) -> Site:
    """The same for one test alone."""
    return site_on(postgres, tmp_path, like=migrated_site)


@pytest.fixture(scope="session")
def servers_site(
    postgres: Postgres, mysql: MySQL, migrated_site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """A site on PostgreSQL, its standby and MySQL, with the cache on SQLite, filled with the demo's content; shared."""
    site = site_on(postgres, tmp_path_factory.mktemp("servers"), like=migrated_site)
    site.env["LEGACY_DATABASE_URL"] = mysql.url()
    site.manage("seed_demo", f"--events={EVENTS}", "--verbosity", "0")
    postgres.catch_up()
    return site


@pytest.fixture(scope="session")
def roles() -> Iterator[PostgresWithRoles]:
    """A primary and a standby with the accounts of docker/postgres/roles.sql, and nobody else's databases."""
    yield from running(PostgresWithRoles)


@pytest.fixture(scope="session")
def migrated_roles(roles: PostgresWithRoles, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site on them with every table, migrated by the owners and used as the application's roles; shared."""
    site = Site(tmp_path_factory.mktemp("roles") / "var", env=roles_env(roles))
    site.manage("migrate_all", "--verbosity", "0")
    roles.catch_up()
    return site


@pytest.fixture(scope="session")
def roles_site(migrated_roles: Site, roles: PostgresWithRoles, mysql: MySQL) -> Site:
    """The same with the old system, which it may only read, and filled with the demo's content; shared."""
    migrated_roles.env["LEGACY_DATABASE_URL"] = mysql.url(user="legacy_app")
    maintenance = {"ANALYTICS_DATABASE_URL": roles.primary.url("analytics", "analytics_maintenance")}
    by_maintenance = Site(migrated_roles.var, env=migrated_roles.env | maintenance)
    by_maintenance.manage("seed_demo", f"--events={EVENTS}", "--verbosity", "0")
    roles.catch_up()
    return migrated_roles


def roles_env(roles: PostgresWithRoles) -> dict[str, str]:
    """The variables of a site that uses each account of docker/postgres/roles.sql for what it is there for."""
    env = {"DATABASE_PROBE_USER": "probe", "DATABASE_PROBE_PASSWORD": password_of("probe")}
    for alias, variable in VARIABLES.items():
        name = NAMES[alias]
        env[variable] = roles.primary.url(name, f"{name}_app")
        env[variable.replace("_URL", "_OWNER_URL")] = roles.primary.url(name, f"{name}_owner")
    for variable, name in (("READ_REPLICA_URLS", "blog"), ("USERS_REPLICA_URLS", "users")):
        env[variable] = " ".join(standby.url(name, f"{name}_reader") for standby in roles.standbys)
    return env


def tables(postgres: Postgres, name: str) -> set[str]:
    """The tables of a database, whatever schema they are in and whoever owns them."""
    sql = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    return {row[0] for row in postgres.query(name, sql, admin=True)}


def tables_of_apps_on(alias: str) -> set[str]:
    """The tables that the topology puts on an alias, and the one in which Django records migrations."""
    here = topology().labels_on(alias)
    models = [model for model in apps.get_models(include_auto_created=True) if not model._meta.swapped]
    return {model._meta.db_table for model in models if model._meta.app_label in here} | {"django_migrations"}


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
