"""The arithmetic of connections, asked of real servers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import WARNING, CheckMessage, Tags
from django.core.checks.registry import registry
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker, Settings

from config.settings.databases import for_visitors, parse_url
from routers.capacity import check_capacity
from tests.browser.conftest import free_port
from tests.project.conftest import Site
from tests.servers.processes import PASSWORD, MySQL, Postgres

Aliases = Callable[..., list[str]]


@pytest.fixture
def aliases(django_db_blocker: DjangoDbBlocker) -> Iterator[Aliases]:
    """Makes these URLs known to Django as one_db, two_db and so on, with the connections that visitors have."""
    made: list[str] = []

    def make(*urls: str, **options: Any) -> list[str]:
        for alias, url in zip(("one_db", "two_db", "three_db"), urls, strict=False):
            config = for_visitors(parse_url("URL", url))
            config["OPTIONS"] |= options
            if options.get("pool") is False:  # without one there is no limit on this side
                del config["TIMEOUT"]
            connections[alias] = ConnectionHandler({DEFAULT_DB_ALIAS: {}, alias: config})[alias]
            made.append(alias)
        return made

    with django_db_blocker.unblock():
        yield make
        for alias in made:
            connection: Any = connections[alias]
            connection.close()
            if connection.vendor == "postgresql":
                connection.close_pool()
            del connections[alias]


def words(messages: list[CheckMessage]) -> str:
    (message,) = messages
    assert (message.id, message.level) == ("routers.W002", WARNING)
    return message.msg


def test_what_fits_gives_no_warning(postgres: Postgres, aliases: Aliases, settings: Settings) -> None:
    named = aliases(*[postgres.url("postgres")] * 3)
    settings.WEB_PROCESSES = 3  # 3 x 3 x 9 + 1 = 82 of 97
    assert check_capacity(databases=named) == []


def test_too_many_processes_for_all_aliases_of_a_server_are_a_warning_with_the_numbers(
    postgres: Postgres, aliases: Aliases, settings: Settings
) -> None:
    url = postgres.url("postgres")
    named = aliases(url, url.replace("127.0.0.1", "localhost"), url)
    settings.WEB_PROCESSES = 4
    (warning,) = check_capacity(databases=named)
    assert words([warning]) == (
        f"The PostgreSQL server at 127.0.0.1:{postgres.primary.port} takes 97 connections (max_connections is 100, and "
        "3 of them are reserved), but up to 109 may be wanted: 4 web processes x (8 for one_db + 8 for two_db + 8 for "
        "three_db + 3 for the health prober) + 1 for a migration."
    )
    for remedy in ("DATABASE_POOL_SIZE", "WEB_PROCESSES", "max_connections", "PgBouncer"):
        assert remedy in str(warning.hint)


def test_each_server_is_reckoned_by_itself(postgres: Postgres, aliases: Aliases, settings: Settings) -> None:
    named = aliases(postgres.url("postgres"), postgres.standbys[0].url("postgres"))
    settings.WEB_PROCESSES = 10  # 10 x 9 + 1 = 91 of 97, on each
    assert check_capacity(databases=named) == []
    settings.WEB_PROCESSES = 11
    assert [warning.obj for warning in check_capacity(databases=named)] == ["one_db", "two_db"]


@pytest.mark.parametrize(
    ("pool", "size"),
    [({"min_size": 0, "max_size": 20}, 20), ({"min_size": 6}, 6), (True, 4), (False, 16)],
)
def test_pool_counts_as_what_it_may_hold_and_none_as_the_threads(
    postgres: Postgres, aliases: Aliases, settings: Settings, pool: Any, size: int
) -> None:
    named = aliases(postgres.url("postgres"), pool=pool)
    settings.WEB_PROCESSES, settings.WEB_THREADS = 1000, 16
    assert f"but up to {1000 * (size + 1) + 1} may be wanted: 1000 web processes x ({size} for one_db + 1 " in words(
        check_capacity(databases=named)
    )


def test_mysql_takes_a_connection_for_each_thread(mysql: MySQL, aliases: Aliases, settings: Settings) -> None:
    named = aliases(mysql.url())
    settings.WEB_PROCESSES, settings.WEB_THREADS = 10, 14  # 10 x 15 + 1 = 151 of 151
    assert check_capacity(databases=named) == []
    settings.WEB_PROCESSES, settings.WEB_THREADS = 2, 75
    assert words(check_capacity(databases=named)).endswith(
        f" server at 127.0.0.1:{mysql.server.port} takes 151 connections (max_connections is 151, and 0 of them are "
        "reserved), but up to 153 may be wanted: 2 web processes x (75 for one_db + 1 for the health prober) + 1 for a "
        "migration."
    )


def test_settings_have_defaults(mysql: MySQL, aliases: Aliases, settings: Settings) -> None:
    named = aliases(mysql.url())
    del settings.WEB_PROCESSES
    assert check_capacity(databases=named) == []


def test_server_that_cannot_be_asked_is_a_warning(aliases: Aliases) -> None:
    named = aliases(f"postgres://app:{PASSWORD}@127.0.0.1:{free_port()}/none", pool=False)
    said = words(check_capacity(databases=named))
    assert said.startswith("The server of one_db could not be asked how many connections it takes: connection ")
    assert PASSWORD not in said


def test_no_alias_and_sqlite_give_nothing() -> None:
    assert check_capacity() == []
    assert check_capacity(databases=["cache_db"]) == []


def test_check_runs_with_deploy_and_databases_only() -> None:
    found: list[Any] = [check for check in registry.deployment_checks if "check_capacity" in repr(check)]
    assert [check.tags for check in found] == [(Tags.database,)]
    assert not [check for check in registry.get_checks() if "check_capacity" in repr(check)]


def test_command_warns_of_the_sites_own_servers(migrated_site: Site, postgres: Postgres) -> None:
    site = Site(migrated_site.var, env=migrated_site.env | {"WEB_PROCESSES": "40"})
    command = ("check", "--deploy", "--database", "default", "--database", "users_db", "--database", "read_replica_1")
    said = site.manage(*command)
    assert "default, users_db: (routers.W002) The PostgreSQL server at" in said
    assert "read_replica_1: (routers.W002) The PostgreSQL server at" in said
    assert "routers.W002" not in migrated_site.manage(*command)
