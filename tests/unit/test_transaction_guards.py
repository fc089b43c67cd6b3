"""A write to a second database inside a transaction, and a write on a safe request: found, placed and named."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections, router, transaction
from django.http import HttpRequest, HttpResponse
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from apps.cache.models import CacheEntry
from apps.users.models import User
from routers.central import ReadOnlyDatabase
from routers.guards import SecondDatabaseWritten, WrittenOnSafeRequest, ask_guards, guard_connection
from routers.middleware import RoutingMiddleware
from routers.state import routing_state
from routers.transactions import atomic_for, crossing_databases, writing, writing_on_safe_request

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "cache_db"])
STATEMENT = "UPDATE cache_cacheentry SET key = %s WHERE key = %s"


def write(alias: str, sql: str = STATEMENT) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, ["secret", "secret"] if "%s" in sql else None)


def cached() -> int:
    return CacheEntry.objects.count()


@atomic_for(CacheEntry)
def create(key: str = "a") -> None:
    CacheEntry.objects.create(key=key, expires_at="2100-01-01T00:00:00Z")


@pytest.fixture
def safe() -> Iterator[None]:
    with routing_state(is_request=True, is_safe=True):
        yield


def test_second_database_written_inside_a_transaction_raises_and_writes_nothing() -> None:
    with pytest.raises(SecondDatabaseWritten), transaction.atomic(using="users_db"):
        create()
    assert cached() == 0


def test_message_names_the_statement_both_databases_the_line_and_what_to_do() -> None:
    line = sys._getframe().f_lineno + 2
    with atomic_for(User), pytest.raises(SecondDatabaseWritten) as caught:
        CacheEntry.objects.update(value=1)
    message = str(caught.value)
    assert message.startswith(f"UPDATE cache_cacheentry was sent to cache_db at {__file__}:{line} while")
    assert "while a transaction is open on users_db" in message
    for remedy in ("atomic_for(Model)", "on_commit(…, using='users_db')", "outbox on users_db", "crossing_databases("):
        assert remedy in message
    assert "without using=" not in message


def test_bare_atomic_around_a_write_to_another_database_is_told_that_it_protects_nothing() -> None:
    with transaction.atomic(), pytest.raises(SecondDatabaseWritten) as caught:
        create()
    assert "transaction.atomic() without using= is on default, and protects nothing of cache_db." in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        (STATEMENT, "UPDATE cache_cacheentry"),
        ("DELETE FROM \"cache_cacheentry\" WHERE key = 'secret'", "DELETE FROM cache_cacheentry"),
        ("INSERT OR REPLACE INTO `cache_cacheentry` SELECT 'secret'", "INSERT OR REPLACE INTO cache_cacheentry"),
        ("DROP TABLE cache_cacheentry", "DROP TABLE cache_cacheentry"),
        ("WITH a AS (SELECT 'secret') DELETE FROM cache_cacheentry", "WITH"),
        ("SELECT 'secret'; DROP TABLE cache_cacheentry", "SELECT"),
        ("-- secret\nDELETE FROM cache_cacheentry", "A statement"),
    ],
)
def test_message_says_what_was_sent_and_none_of_its_values(sql: str, what: str) -> None:
    with transaction.atomic(using="users_db"), pytest.raises(SecondDatabaseWritten) as caught:
        write("cache_db", sql)
    assert str(caught.value).startswith(f"{what} was sent to cache_db at {__file__}:")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "SAVEPOINT a", "WITH a AS (SELECT 1) SELECT * FROM a", "PRAGMA table_info(a)"]
)
@pytest.mark.sqlite("cache_db")
def test_reads_and_savepoints_pass(sql: str, safe: None) -> None:
    with transaction.atomic(using="users_db"):
        write("cache_db", sql)


def test_transaction_on_the_database_that_is_written_is_none_elsewhere() -> None:
    with atomic_for(CacheEntry):
        create("a")
        with transaction.atomic(using="cache_db"):
            create("b")
    assert cached() == 2


def test_the_databases_may_be_written_one_after_the_other(django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(using="users_db", execute=True), atomic_for(User):
        User.objects.filter(username="nobody").update(first_name="x")
        transaction.on_commit(create, using="users_db")
    assert cached() == 1


@pytest.mark.django_db(databases=["users_db", "cache_db"], transaction=True)
def test_callback_after_a_real_commit_writes_to_another_database() -> None:
    with atomic_for(User):
        transaction.on_commit(create, using="users_db")
    assert cached() == 1


@pytest.mark.django_db(databases=["users_db", "cache_db"], transaction=True)
def test_connection_without_autocommit_is_inside_a_transaction() -> None:
    transaction.set_autocommit(False, using="users_db")
    try:
        with pytest.raises(SecondDatabaseWritten, match="while a transaction is open on users_db"):
            create()
    finally:
        transaction.set_autocommit(True, using="users_db")
    create()


@pytest.mark.django_db(databases=["users_db", "cache_db"], transaction=True)
def test_connection_that_is_closed_is_in_none_and_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    # As after close(), which leaves a database in memory open.
    monkeypatch.setattr(connections["users_db"], "connection", None)
    monkeypatch.setattr(connections["users_db"], "autocommit", False)
    create()
    assert connections["users_db"].connection is None


@pytest.mark.parametrize("verb", ["FOR UPDATE", "FOR NO KEY UPDATE"])
def test_lock_is_no_write_for_the_guards_and_one_for_the_routing(verb: str) -> None:
    sql = f"SELECT 1 FROM users_user {verb}"
    with routing_state(is_request=True, is_safe=True) as known, atomic_for(CacheEntry):
        with suppress(DatabaseError):  # SQLite does not know the words
            write("users_db", sql)
        assert known.written == {"users"}


def test_guard_is_put_on_a_connection_once() -> None:
    before = list(connections["cache_db"].execute_wrappers)
    guard_connection(connection=connections["cache_db"])
    assert connections["cache_db"].execute_wrappers == before


def test_what_no_wrapper_is_shown_may_be_asked_about(settings: Settings, safe: None) -> None:
    line = sys._getframe().f_lineno + 2
    with pytest.raises(WrittenOnSafeRequest) as caught:
        ask_guards("cache_db", "COPY cache_cacheentry FROM STDIN")
    assert str(caught.value).startswith(f"COPY was sent to cache_db at {__file__}:{line} by")
    ask_guards("cache_db", "COPY cache_cacheentry TO STDOUT")
    ask_guards("users_replica_1", "COPY users_user FROM STDIN")
    settings.CLUSTERS = tuple(replace(c, read_only=c.name == "cache") for c in settings.CLUSTERS)
    with pytest.raises(ReadOnlyDatabase):
        ask_guards("cache_db", "COPY cache_cacheentry FROM STDIN")


@pytest.mark.django_db(databases=["cache_db", "users_replica_1"])
def test_transaction_that_only_reads_a_replica_is_none_that_could_be_left_half_done() -> None:
    with transaction.atomic(using="users_replica_1"):
        create()


def test_transaction_on_a_read_only_database_neither(settings: Settings) -> None:
    settings.CLUSTERS = tuple(replace(c, read_only=c.name == "users") for c in settings.CLUSTERS)
    with transaction.atomic(using="users_db"):
        create()


def test_escape_lets_the_second_write_through_and_ends_with_its_block() -> None:
    with atomic_for(User):
        with crossing_databases(reason="The copy is committed before the original goes."):
            create()
        with pytest.raises(SecondDatabaseWritten):
            create("b")


def test_write_on_a_safe_request_raises_and_writes_nothing(safe: None) -> None:
    with pytest.raises(WrittenOnSafeRequest) as caught:
        create()
    assert cached() == 0
    assert str(caught.value).startswith(f"INSERT INTO cache_cacheentry was sent to cache_db at {__file__}:")
    assert "Write on POST" in str(caught.value)
    assert "writing_on_safe_request(" in str(caught.value)


def test_app_that_always_may_write_does_so_on_a_safe_request(safe: None, settings: Settings) -> None:
    settings.SAFE_REQUEST_WRITERS = ["cache"]
    create()


def test_escape_lets_a_safe_request_write_and_ends_with_its_block(safe: None) -> None:
    with writing_on_safe_request(reason="Filling a cache again is harmless."):
        create()
    with pytest.raises(WrittenOnSafeRequest):
        create("b")


@pytest.mark.parametrize(("method", "refused"), [("GET", 1), ("HEAD", 1), ("OPTIONS", 1), ("POST", 0), ("DELETE", 0)])
def test_method_of_the_request_decides(method: str, refused: int) -> None:
    refusals = []

    def view(request: HttpRequest) -> HttpResponse:
        try:
            write("cache_db")
        except WrittenOnSafeRequest as error:
            refusals.append(error)
        return HttpResponse()

    request = HttpRequest()
    request.method = method
    RoutingMiddleware(view)(request)
    assert len(refusals) == refused


def test_what_a_guard_refused_does_not_send_reads_to_the_primary() -> None:
    with routing_state(is_request=True, is_safe=True) as known:
        with pytest.raises(WrittenOnSafeRequest):
            write("users_db", "UPDATE users_user SET bio = ''")
        assert not known.written


def test_log_mode_warns_in_the_same_words_and_writes(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.DATABASE_GUARDS = "log"
    with caplog.at_level(logging.WARNING, "routers.guards"), atomic_for(User):
        create()
    (record,) = caplog.records
    assert record.getMessage().startswith("INSERT INTO cache_cacheentry was sent to cache_db at")
    assert record.__dict__["alias"] == "cache_db"
    assert cached() == 1


def test_log_mode_names_both_where_both_are_broken(
    settings: Settings, caplog: pytest.LogCaptureFixture, safe: None
) -> None:
    del settings.DATABASE_GUARDS
    with atomic_for(User):
        create()
    assert ["while a transaction" in r.getMessage() for r in caplog.records] == [True, False]


def test_off_mode_is_silent(settings: Settings, caplog: pytest.LogCaptureFixture, safe: None) -> None:
    settings.DATABASE_GUARDS = "off"
    with atomic_for(User):
        create()
    assert not caplog.records


@pytest.mark.parametrize("escape", [crossing_databases, writing_on_safe_request])
@pytest.mark.parametrize("reason", ["", "  ", None])
def test_escape_demands_a_reason(escape: Callable[..., Any], reason: Any) -> None:
    with pytest.raises(ValueError, match=rf"{escape.__name__}\(\) needs a reason"):
        escape(reason=reason)
    with pytest.raises(TypeError):
        escape()


def test_escape_is_a_decorator_of_async_functions_too() -> None:
    @writing_on_safe_request(reason="Only here.")
    async def view() -> str:
        await asyncio.sleep(0)
        return await sync_to_async(writing.get)()

    assert asyncio.run(view()) == "Only here."
    assert writing.get() == ""


def test_atomic_for_opens_the_models_database_and_no_other() -> None:
    with CaptureQueriesContext(connections["cache_db"]) as sent, atomic_for(CacheEntry):
        assert len([b for b in connections["cache_db"].atomic_blocks if not getattr(b, "_from_testcase")]) == 1  # noqa: B009
        assert not [b for b in connections["default"].atomic_blocks if not getattr(b, "_from_testcase")]  # noqa: B009
    assert "SAVEPOINT" in sent.captured_queries[0]["sql"]


def test_atomic_for_rolls_back_what_failed() -> None:
    @atomic_for(CacheEntry)
    def fail() -> None:
        create()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert cached() == 0


def test_atomic_for_as_a_decorator_asks_the_router_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def db_for_write(model: Any) -> str:
        asked.append(model)
        return "cache_db"

    monkeypatch.setattr(router, "db_for_write", db_for_write)

    @atomic_for(CacheEntry)
    def rolled_back() -> None:
        transaction.set_rollback(True, using="cache_db")

    assert asked == []
    rolled_back()
    rolled_back()
    assert asked == [CacheEntry, CacheEntry]


def test_atomic_for_passes_savepoint_and_durable_on() -> None:
    with CaptureQueriesContext(connections["cache_db"]) as sent, atomic_for(CacheEntry, savepoint=False):
        pass
    assert not sent.captured_queries
    with atomic_for(CacheEntry), pytest.raises(RuntimeError, match="durable"), atomic_for(CacheEntry, durable=True):
        pass
