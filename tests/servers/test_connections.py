"""The connections of visitors: pooled, limited on both sides, and given up when a server hangs."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import DatabaseWrapper as DjangosWrapper
from django.db.utils import ConnectionHandler
from psycopg_pool import PoolClosed
from pytest_django import DjangoDbBlocker, Settings

from config.settings.databases import for_visitors, parse_url
from routers import health
from routers.backends.postgresql.deadline import DeadlineConnection
from routers.locks import LockTimeout, migration_lock
from routers.owners import as_owner, unlimited
from tests.project.conftest import Site
from tests.servers.conftest import database_name, hung, python
from tests.servers.processes import MySQL, Postgres

ALIAS = "under_test"  # pools are kept by alias, so no other test may use this one
Handler = Callable[..., ConnectionHandler]


@pytest.fixture
def handler(django_db_blocker: DjangoDbBlocker) -> Iterator[Handler]:
    """Makes connections to a URL as visitors have them, under ALIAS; closed, with their pool, at the end."""
    made: list[ConnectionHandler] = []

    def make(url: str, *, timeout: int = 3, size: int = 2) -> ConnectionHandler:
        config = for_visitors(parse_url("URL", url)) | {"TIMEOUT": timeout}
        if pool := config["OPTIONS"].get("pool"):
            pool["max_size"] = size
        made.append(ConnectionHandler({DEFAULT_DB_ALIAS: {}, ALIAS: config}))
        return made[-1]

    with django_db_blocker.unblock():
        yield make
        for one in made:
            one.close_all()
            if one[ALIAS].vendor == "postgresql":
                one[ALIAS].close_pool()  # type: ignore[attr-defined]


@contextmanager
def known_by_its_alias(own: BaseDatabaseWrapper) -> Iterator[None]:
    """As the connection of this thread, where the code under test looks for it."""
    connections[ALIAS] = own
    try:
        yield
    finally:
        del connections[ALIAS]


def refuse(alias: str) -> None:
    raise health.DatabaseUnavailable(alias)


def ask(connection: BaseDatabaseWrapper, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_postgresql_ends_a_statement_that_takes_too_long_and_says_so(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"), timeout=1)[ALIAS]
    assert [ask(connection, f"SHOW {name}") for name in ("statement_timeout", "lock_timeout")] == ["1s", "500ms"]
    with pytest.raises(OperationalError, match="statement timeout"):
        ask(connection, "SELECT pg_sleep(3)")


def test_options_of_the_url_win_over_the_timeouts(postgres: Postgres, handler: Handler) -> None:
    connection = handler(f"{postgres.url('postgres')}?options=-c%20statement_timeout%3D9s")[ALIAS]
    assert ask(connection, "SHOW statement_timeout") == "9s"


def test_mysql_ends_a_statement_that_takes_too_long(mysql: MySQL, handler: Handler) -> None:
    connection = handler(mysql.url(), timeout=1)[ALIAS]
    # Long enough for either flavour's limit, and no sleep: that one just returns early.
    with pytest.raises(OperationalError, match=r"max_statement_time|maximum statement execution time"):
        ask(connection, "SELECT count(*) FROM customers a, customers b, customers c, customers d")
    assert ask(connection, "SELECT @@session.innodb_lock_wait_timeout") == 1


def test_postgresql_that_hangs_is_given_up_at_the_deadline(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"), timeout=1)[ALIAS]
    ask(connection, "SELECT 1")
    pid = ask(connection, "SELECT pg_backend_pid()")
    with hung(pid):
        started = time.monotonic()
        with pytest.raises(OperationalError, match=f"no answer from {ALIAS} for 2"):
            ask(connection, "SELECT 1")
        assert 1.9 < time.monotonic() - started < 4
        connection.close()
    assert ask(connection, "SELECT 1") == 1, "the pool has thrown it away"


def test_postgresql_that_the_prober_finds_hanging_is_given_up_long_before(
    postgres: Postgres, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = handler(postgres.url("postgres"), timeout=30)[ALIAS]
    pid = ask(connection, "SELECT pg_backend_pid()")
    suspected: list[str] = []
    monkeypatch.setattr("routers.backends.postgresql.deadline.suspect", suspected.append)
    monkeypatch.setattr("routers.backends.postgresql.deadline.is_down", suspected.__contains__)
    with hung(pid):
        started = time.monotonic()
        with pytest.raises(OperationalError, match=f"no answer from {ALIAS} for 0"):
            ask(connection, "SELECT 1")
        assert time.monotonic() - started < 3
    assert set(suspected) == {ALIAS}


def test_slow_statement_on_a_server_that_is_well_is_left_to_work(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"), timeout=3)[ALIAS]
    assert ask(connection, "SELECT 42 FROM pg_sleep(1.2)") == 42


def test_mysql_that_hangs_is_given_up_at_the_deadline(mysql: MySQL, handler: Handler) -> None:
    connection = handler(mysql.url(), timeout=1)[ALIAS]
    ask(connection, "SELECT 1")
    mysql.server.stop()
    try:
        started = time.monotonic()
        with pytest.raises(OperationalError):
            ask(connection, "SELECT 1")
        assert time.monotonic() - started < 5
    finally:
        mysql.server.resume()


def test_connection_that_the_server_has_ended_is_not_handed_out(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"))[ALIAS]
    pid = ask(connection, "SELECT pg_backend_pid()")
    connection.close()
    postgres.query("postgres", f"SELECT pg_terminate_backend({pid}, 5000)", admin=True)
    assert ask(connection, "SELECT pg_backend_pid()") != pid


def test_connection_that_is_well_is_handed_out_again_without_asking_it(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"))[ALIAS]
    pid = ask(connection, "SELECT pg_backend_pid()")
    connection.close()
    assert ask(connection, "SELECT pg_backend_pid()") == pid


def test_connection_with_something_to_say_that_is_well_is_kept(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"))[ALIAS]
    pid = ask(connection, "SELECT pg_backend_pid()")
    with connection.cursor() as cursor:
        cursor.execute("LISTEN news")
    connection.close()
    postgres.query("postgres", "NOTIFY news")
    assert ask(connection, "SELECT pg_backend_pid()") == pid


def test_threads_share_the_pool_and_never_hold_more_than_its_size(postgres: Postgres, handler: Handler) -> None:
    made = handler(postgres.url("postgres"), size=3)

    def work(number: int) -> tuple[int, int]:
        connection = made[ALIAS]  # each thread's own
        try:
            return ask(connection, f"SELECT {number} FROM pg_sleep(0.02)"), ask(connection, "SELECT pg_backend_pid()")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, range(60)))
    assert [number for number, _ in found] == list(range(60)), "nobody gets another's rows"
    assert len({pid for _, pid in found}) <= 3


def test_pool_without_a_free_connection_says_so_within_its_timeout(postgres: Postgres, handler: Handler) -> None:
    made = handler(postgres.url("postgres"), size=1)
    ask(made[ALIAS], "SELECT 1")  # and this thread keeps it

    def starve() -> float:
        started = time.monotonic()
        with pytest.raises(OperationalError, match=r"couldn't get a connection after 0\.50 sec"):
            ask(made[ALIAS], "SELECT 1")
        return time.monotonic() - started

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(starve).result() < 1.5


def test_breaker_that_is_open_is_asked_before_the_pool(
    postgres: Postgres, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = handler(postgres.url("postgres"))[ALIAS]
    monkeypatch.setattr("routers.backends.breaker.refuse_if_down", refuse)
    with pytest.raises(OperationalError):
        ask(connection, "SELECT 1")
    assert connection.pool.get_stats().get("connections_num", 0) == 0


def test_breaker_that_is_open_is_asked_before_a_connection_that_hangs_is_asked_how_it_is(
    mysql: MySQL, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = handler(mysql.url(), timeout=5)[ALIAS]
    ask(connection, "SELECT 1")
    connection.health_check_done = False  # as at the beginning of a request
    monkeypatch.setattr("routers.backends.breaker.refuse_if_down", refuse)
    mysql.server.stop()
    try:
        started = time.monotonic()
        with pytest.raises(health.DatabaseUnavailable):
            ask(connection, "SELECT 1")
        assert time.monotonic() - started < 2
    finally:
        mysql.server.resume()


def test_pool_that_the_prober_replaces_costs_nobody_a_page(postgres: Postgres, handler: Handler) -> None:
    made = handler(postgres.url("postgres"), size=4)
    connections[ALIAS] = made[ALIAS]  # where the prober looks for the pool
    until = time.monotonic() + 3

    def work() -> int:
        done = 0
        while time.monotonic() < until:
            ask(made[ALIAS], "SELECT 1")
            made[ALIAS].close()
            done += 1
        return done

    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(work) for _ in range(4)]
        while time.monotonic() < until:
            health.renew_pool(ALIAS)
            time.sleep(0.2)
        del connections[ALIAS]
        assert all(result.result() > 0 for result in results)


def test_pool_that_is_replaced_again_and_again_is_asked_for_once_more(
    postgres: Postgres, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, refusals = DjangosWrapper.get_new_connection, [PoolClosed(), KeyError(ALIAS)]

    def replaced(*args: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return connect(*args)

    monkeypatch.setattr(DjangosWrapper, "get_new_connection", replaced)
    assert ask(handler(postgres.url("postgres"))[ALIAS], "SELECT 1") == 1


def test_timeout_without_a_pool_is_refused(postgres: Postgres, handler: Handler) -> None:
    connection = handler(postgres.url("postgres"))[ALIAS]
    pool = connection.settings_dict["OPTIONS"].pop("pool")
    with pytest.raises(ImproperlyConfigured, match=f"{ALIAS}.* has a TIMEOUT, but no pool"):
        ask(connection, "SELECT 1")
    connection.settings_dict["OPTIONS"]["pool"] = pool


def test_pool_given_as_true_gives_up_on_a_hanging_server_too(postgres: Postgres) -> None:
    config = for_visitors(parse_url("URL", postgres.url("postgres")))
    config["OPTIONS"]["pool"] = True
    wrapper: Any = ConnectionHandler({DEFAULT_DB_ALIAS: {}, f"{ALIAS}_true": config})[f"{ALIAS}_true"]
    assert wrapper.settings_dict["OPTIONS"]["pool"]["connection_class"] is DeadlineConnection


@pytest.mark.parametrize("engine", ["postgres", "mysql"])
def test_unlimited_lifts_the_limits_and_keeps_the_account(
    engine: str, request: pytest.FixtureRequest, handler: Handler
) -> None:
    servers = request.getfixturevalue(engine)
    own = handler(servers.url("postgres") if engine == "postgres" else servers.url(), timeout=1)[ALIAS]
    slow = "SELECT 1 FROM pg_sleep(1.5)" if engine == "postgres" else "SELECT SLEEP(1.5) IS NOT NULL"
    with known_by_its_alias(own):
        with unlimited(ALIAS) as free:
            assert connections[ALIAS] is free is not own
            assert ask(free, slow) == 1
            assert free.settings_dict["USER"] == own.settings_dict["USER"]
            with unlimited(ALIAS) as again:
                assert again is free
        assert connections[ALIAS] is own


def test_lock_of_a_session_outlives_a_block_as_somebody_else(
    postgres: Postgres, handler: Handler, settings: Settings
) -> None:
    own = handler(postgres.url("postgres"))[ALIAS]
    settings.OWNER_DATABASES = {ALIAS: parse_url("URL", postgres.url("postgres"))}
    with (
        known_by_its_alias(own),
        migration_lock(own, timeout=1),
        as_owner(ALIAS) as owner,
        pytest.raises(LockTimeout),
        migration_lock(owner, timeout=0),
    ):
        pass


def test_owner_has_neither_pool_nor_limits_and_goes_when_the_block_ends(
    postgres: Postgres, handler: Handler, settings: Settings
) -> None:
    own = handler(postgres.url("postgres"))[ALIAS]
    settings.OWNER_DATABASES = {ALIAS: parse_url("URL", postgres.url("postgres"))}
    with known_by_its_alias(own):
        with as_owner(ALIAS) as owner:
            assert connections[ALIAS] is owner is not own
            assert ask(owner, "SHOW statement_timeout") == "0"
            assert not isinstance(owner.connection, DeadlineConnection)
            with as_owner(ALIAS) as again:
                assert again is owner
        assert connections[ALIAS] is own
        assert owner.connection is None


def test_page_on_a_server_that_hangs_costs_no_more_than_the_deadline(postgres: Postgres, migrated_copy: Site) -> None:
    # Without replicas: one would answer.
    migrated_copy.env |= {"DATABASE_TIMEOUT": "1", "READ_REPLICA_URLS": "", "USERS_REPLICA_URLS": ""}
    pids = "SELECT pid FROM pg_stat_activity WHERE datname = '{}'".format(database_name(migrated_copy, "default"))
    code = f"""
import os, signal, time, psycopg
from django.db import close_old_connections
from django.test import Client
client = Client(headers={{"host": "localhost"}}, raise_request_exception=False)
before = client.get("/blog/").status_code
with psycopg.connect({postgres.url("postgres")!r}) as admin:
    pids = [pid for pid, in admin.execute({pids!r})]
for pid in pids: os.kill(pid, signal.SIGSTOP)
try:
    started = time.monotonic()
    during = client.get("/blog/").status_code
    took = time.monotonic() - started
finally:
    for pid in pids: os.kill(pid, signal.SIGCONT)
def again():
    close_old_connections()  # as the end of a real request does, and that of a test client's does not
    time.sleep(0.2)
    return client.get("/blog/").status_code
answer = [before, during, took, next((s for s in (again() for _ in range(50)) if s == 200), None)]
"""
    before, during, took, after = python(migrated_copy, code)
    assert (before, during, after) == (200, 503, 200)
    assert took < 4
