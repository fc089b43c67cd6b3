"""Whoever publishes under a key has its turn until the commit, and all turns together fit into a server."""

from threading import Thread
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from apps.outbox.models import Message
from apps.outbox.publishing import BUCKETS, LOCKED_ONE_BY_ONE, publish
from tests.apps.outbox.conftest import SOURCE, Copying

pytestmark = pytest.mark.django_db(databases=[SOURCE], transaction=True)
MANY = LOCKED_ONE_BY_ONE + 10


@pytest.fixture(autouse=True)
def on_postgresql(db: None) -> None:
    if connections[SOURCE].vendor != "postgresql":
        pytest.skip("needs users_db on PostgreSQL: python -m tests.servers python -m pytest tests/apps/outbox")


def ask(sql: str, *params: Any) -> Any:
    with connections[SOURCE].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]


def locks() -> int:
    """A lock that is shared and exclusive takes the room of one."""
    mine = "FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    return int(ask(f"SELECT count(DISTINCT (classid, objid, objsubid)) {mine}"))


def bucket(key: str) -> int:
    return int(ask("SELECT hashtextextended(%s, 0) & %s", f"outbox {key}", BUCKETS - 1))


def waits(copy: Copying, *keys: str) -> bool:
    """Whether another session that publishes under these keys has to wait for this one."""
    refused: list[OperationalError] = []

    def try_it() -> None:
        try:
            with transaction.atomic(using=SOURCE):
                with connections[SOURCE].cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '100ms'")
                for key in keys:
                    publish(copy.topic, 0, key=key, using=SOURCE)
        except OperationalError as error:
            refused.append(error)
        finally:
            connections[SOURCE].close()

    other = Thread(target=try_it)
    other.start()
    other.join()
    return bool(refused)


def others(number: int = MANY) -> list[str]:
    return [f"other {n}" for n in range(number)]


def say(copy: Copying, *keys: str) -> None:
    for key in keys:
        publish(copy.topic, 0, key=key, using=SOURCE)


def test_thirty_thousand_keys_in_one_transaction_take_a_thousand_locks(copy: Copying) -> None:
    with transaction.atomic(using=SOURCE):
        say(copy, *others(30_000))
        assert BUCKETS <= locks() <= LOCKED_ONE_BY_ONE + BUCKETS
    assert Message.objects.using(SOURCE).count() == 30_000


def test_turn_is_waited_for_until_the_commit(copy: Copying) -> None:
    with transaction.atomic(using=SOURCE):
        say(copy, "k")
        assert waits(copy, "k")
    assert not waits(copy, "k")


def test_turn_among_very_many_is_waited_for_by_others_and_waits_for_theirs(copy: Copying) -> None:
    with transaction.atomic(using=SOURCE):
        say(copy, *others(), "k")
        assert waits(copy, "k")
        assert waits(copy, *(f"mine {n}" for n in range(MANY)), "k")
    with transaction.atomic(using=SOURCE):
        say(copy, "k")
        assert waits(copy, *others(), "k")


def test_key_in_the_same_bucket_is_not_waited_for(copy: Copying) -> None:
    same = next(key for key in map(str, range(100_000)) if bucket(key) == bucket("k"))
    with transaction.atomic(using=SOURCE):
        say(copy, "k")
        assert not waits(copy, same)


def test_turns_are_counted_anew_in_each_transaction_and_after_a_savepoint(copy: Copying) -> None:
    for _ in range(2):
        with transaction.atomic(using=SOURCE):
            with transaction.atomic(using=SOURCE):
                say(copy, *others(LOCKED_ONE_BY_ONE - 1))
                transaction.set_rollback(True, using=SOURCE)
            say(copy, "k")
            assert ask("SELECT current_setting('outbox.turns')") == "1"
            assert locks() == 2
