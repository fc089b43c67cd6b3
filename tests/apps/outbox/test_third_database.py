"""A handler that asks a database which is neither end of its lane, and what goes on while that one does not serve."""

from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import override_settings

from apps.cache.models import CacheEntry
from apps.outbox import relay
from apps.outbox.models import Message
from apps.outbox.registry import handler
from apps.outbox.relay import BATCH, Lane
from tests.apps.outbox.conftest import DESTINATION, SOURCE, Copying, drain, full, let_time_pass, refusing

THIRD = "analytics_db"
pytestmark = pytest.mark.django_db(databases=[SOURCE, DESTINATION, THIRD])
LANE = "users_db to cache_db"
Asked = list[Any]


def ask(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.fixture
def asked(copy: Copying) -> Asked:
    """What came to a handler that asks the third database for texts and for nothing else."""
    payloads: Asked = []

    @handler(copy.topic, name="asking", destination=CacheEntry)
    def asking(payload: Any) -> None:
        payloads.append(payload)
        if isinstance(payload, str):
            ask(THIRD)

    return payloads


@pytest.fixture
def silent() -> Iterator[None]:
    with refusing(THIRD):
        yield


def waiting() -> list[tuple[str, Any, int]]:
    rows = Message.objects.using(SOURCE).filter(done_at=None).order_by("pk")
    return list(rows.values_list("handler", "payload", "attempts"))


def test_other_handlers_and_keys_go_on_and_nothing_counts_as_tried(copy: Copying, asked: Asked, silent: None) -> None:
    copy.publish(1, "a", 2, key="k")
    copy.publish(3, "b", 4)
    assert drain() == (9, 0, [LANE])
    assert copy.effects == [1, "a", 2, 3, "b", 4]
    assert waiting() == [("asking", "a", 0), ("asking", 2, 0), ("asking", "b", 0)]


def test_what_is_published_later_does_not_overtake_what_waits_in_its_key(copy: Copying, asked: Asked) -> None:
    with refusing(THIRD):
        copy.publish("a", key="k")
        drain()
        copy.publish(1, key="k")
        copy.publish(2, key="other")
        asked.clear()
        drain()
        assert asked == [2]
    let_time_pass(seconds=relay.PAUSE_FOR_THIRD)
    assert drain().delivered == 2
    assert asked == [2, "a", 1]


def test_what_waits_is_tried_again_when_its_pause_is_over_and_not_before(
    copy: Copying, asked: Asked, silent: None
) -> None:
    copy.publish("a")
    drain()
    asked.clear()
    assert drain() == (0, 0, [])
    assert asked == []
    let_time_pass(seconds=relay.PAUSE_FOR_THIRD)
    drain()
    assert asked == ["a"]
    assert waiting() == [("asking", "a", 0)]


@override_settings(OUTBOX_MAX_ATTEMPTS=2)
def test_what_has_failed_before_keeps_its_attempts_while_it_waits(copy: Copying, asked: Asked, silent: None) -> None:
    copy.publish("a")
    Message.objects.using(SOURCE).filter(handler="asking").update(attempts=1)
    for _ in range(3):
        drain()
        let_time_pass(seconds=relay.PAUSE_FOR_THIRD)
    assert waiting() == [("asking", "a", 1)]


def test_what_waits_is_tried_after_the_others_and_costs_them_nothing(copy: Copying, asked: Asked, silent: None) -> None:
    copy.publish("a")
    drain()
    let_time_pass(seconds=relay.PAUSE_FOR_THIRD)
    copy.publish(1, 2)
    asked.clear()
    drain()
    assert asked == [1, 2, "a"]


def test_what_is_behind_more_than_a_batch_that_waits_is_delivered(copy: Copying, asked: Asked, silent: None) -> None:
    copy.publish(*(f"text {number}" for number in range(BATCH + 1)), 1)
    assert drain() == (BATCH + 3, 0, [LANE])
    assert 1 in asked


def test_drain_ends_although_what_waits_is_due_again_at_once(
    copy: Copying, asked: Asked, silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAUSE_FOR_THIRD", 0)
    copy.publish("a")
    assert drain() == (1, 0, [LANE])


@pytest.mark.sqlite(THIRD)
def test_third_database_that_is_full_is_waited_for_like_one_that_is_silent(copy: Copying) -> None:
    def fill(payload: Any) -> None:
        with connections[THIRD].cursor() as cursor:
            cursor.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")

    handler(copy.topic, name="filling", destination=CacheEntry)(fill)
    copy.publish(1)
    with full(THIRD):
        assert drain() == (1, 0, [LANE])
    assert waiting() == [("filling", 1, 0)]


def test_third_database_that_answers_and_refuses_a_message_makes_it_fail(copy: Copying) -> None:
    def refuse(payload: Any) -> None:
        with connections[THIRD].execute_wrapper(refuse_once):
            ask(THIRD)

    def refuse_once(*args: Any) -> None:
        raise OperationalError("too much")

    handler(copy.topic, name="refused", destination=CacheEntry)(refuse)
    copy.publish(1)
    assert drain() == (1, 1, [])
    assert waiting() == [("refused", 1, 1)]


def test_log_names_handler_and_database_once_until_it_has_gone_on(
    copy: Copying, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    lane = Lane(SOURCE, DESTINATION)
    line = f"Messages for asking wait on the way from {LANE}: analytics_db does not serve."
    copy.publish("a", "b")
    with refusing(THIRD):
        for _ in range(2):
            assert lane.step() == 0
            let_time_pass(seconds=relay.PAUSE_FOR_THIRD)
    assert [record.message for record in caplog.records] == [line]
    lane.step()
    assert waiting() == []
    copy.publish("c")
    with refusing(THIRD):
        lane.step()
    assert [record.message for record in caplog.records] == [line, line]


class Round(Event):
    """Stops a lane after one round, in which it notes what connections are open."""

    def wait(self, timeout: float | None = None) -> bool:
        self.open = {each.alias for each in connections.all(initialized_only=True) if each.connection}
        self.set()
        return True


@pytest.mark.django_db(databases=["default", SOURCE, THIRD], transaction=True)
def test_lane_gives_back_every_connection_that_a_handler_has_opened(copy: Copying) -> None:
    if connections["default"].vendor != "postgresql":
        pytest.skip("needs default on PostgreSQL: python -m tests.servers python -m pytest tests/apps/outbox")
    asked: Asked = []

    @handler(copy.topic, name="asking", destination=THIRD)
    def asking(payload: Any) -> None:
        ask("default")
        asked.append(connections["default"].connection is not None)

    copy.publish(1)
    stopping = Round()
    thread = Thread(target=Lane(SOURCE, THIRD).run, args=[stopping])
    thread.start()
    thread.join()
    assert asked == [True]
    assert stopping.open == set()
