"""What is delivered, in which order, how often, and what becomes of what fails."""

from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction
from django.test import override_settings

from apps.cache.models import CacheEntry
from apps.outbox import registry, services
from apps.outbox.models import Message, Receipt
from apps.outbox.publishing import publish
from apps.outbox.registry import declare_topic, handler
from apps.outbox.relay import BATCH, WINDOW, Lane, Unavailable
from tests.apps.outbox.conftest import (
    DESTINATION,
    SOURCE,
    Copying,
    Subscribe,
    drain,
    full,
    let_time_pass,
    refusing,
    states,
)

pytestmark = pytest.mark.django_db(databases=[SOURCE, DESTINATION])


def receipts() -> list[str]:
    return list(Receipt.objects.using(DESTINATION).values_list("handler", flat=True))


def test_effect_and_receipt_are_in_the_destination_and_not_in_the_source(copy: Copying) -> None:
    copy.publish(1, 2)
    assert drain() == (2, 0, [])
    assert copy.effects == [1, 2]
    assert receipts() == ["copy", "copy"]
    assert not Receipt.objects.using(SOURCE).exists()
    assert states() == {1: "done", 2: "done"}


def test_message_that_is_delivered_again_has_no_effect_again(copy: Copying) -> None:
    copy.publish(1)
    drain()
    Message.objects.using(SOURCE).update(done_at=None)
    assert drain().delivered == 1
    assert copy.effects == [1]
    assert copy.seen == [1]
    assert states() == {1: "done"}


def test_each_handler_gets_its_own_copy(subscribe: Subscribe) -> None:
    copy, other = subscribe(), subscribe(name="other")
    copy.failing[1] = ValueError()
    copy.publish(1)
    drain()
    assert (copy.effects, other.effects) == ([], [1])


def test_handler_of_a_batch_gets_all_payloads_at_once_and_others_one_by_one(subscribe: Subscribe) -> None:
    taken: list[Any] = []
    copy = subscribe()
    handler(copy.topic, name="batch", destination=CacheEntry, batch=True)(taken.append)
    copy.publish(*range(BATCH // 2))
    drain()
    assert taken == [list(range(BATCH // 2))]
    assert copy.seen == list(range(BATCH // 2))


def test_handler_may_publish_in_turn(subscribe: Subscribe) -> None:
    first, second = declare_topic("first"), declare_topic("second")
    seen: list[Any] = []
    handler(first, name="first", destination=SOURCE)(lambda payload: publish(second, payload + 1, using=SOURCE))
    handler(second, name="second", destination=CacheEntry)(seen.append)
    with transaction.atomic(using=SOURCE):
        publish(first, 1, using=SOURCE)
    drain()
    assert seen == [2]


def test_more_than_the_window_holds_is_delivered_in_order_of_its_key(copy: Copying) -> None:
    copy.publish(*range(WINDOW + BATCH + 1), key="k")
    assert drain().delivered == WINDOW + BATCH + 1
    assert copy.seen == list(range(WINDOW + BATCH + 1))


def test_key_that_fills_the_window_holds_up_no_other(copy: Copying) -> None:
    copy.failing[0] = ValueError()
    copy.publish(*range(WINDOW + 1), key="k")
    copy.publish("other", key="o")
    drain()
    assert copy.effects == ["other"]


def test_failing_message_holds_up_its_own_key_alone(copy: Copying) -> None:
    copy.failing[2] = ValueError()
    copy.publish(1, 2, 3, key="k")
    copy.publish(4, key="other")
    copy.publish(5, 6)
    assert drain() == (4, 1, [])
    assert copy.effects == [1, 4, 5, 6]
    assert states() == {1: "done", 2: "failing", 3: "waiting", 4: "done", 5: "done", 6: "done"}


def test_failing_message_without_a_key_holds_up_nobody(copy: Copying) -> None:
    copy.failing[1] = ValueError()
    copy.publish(1, 2)
    drain()
    assert copy.effects == [2]


def test_failing_message_is_tried_again_when_its_delay_is_over_and_the_rest_of_its_key_follows(copy: Copying) -> None:
    copy.failing[1] = ValueError()
    copy.publish(1, 2, key="k")
    drain()
    assert drain() == (0, 0, [])
    copy.failing.clear()
    let_time_pass(seconds=2)
    assert drain().delivered == 2
    assert copy.effects == [1, 2]


@override_settings(OUTBOX_MAX_ATTEMPTS=12)
def test_delays_double_up_to_five_minutes(copy: Copying) -> None:
    copy.failing[1] = ValueError()
    copy.publish(1)
    delays = []
    for _ in range(10):
        drain()
        message = Message.objects.using(SOURCE).get()
        assert message.due_at
        delays.append((message.due_at - message.created_at).total_seconds())
        let_time_pass(seconds=400)
    expected = [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert all(0 <= delay - least < 2 for delay, least in zip(delays, expected, strict=True)), delays


@override_settings(OUTBOX_MAX_ATTEMPTS=2)
def test_message_is_dead_after_its_last_attempt_and_holds_its_key_until_it_is_replayed(copy: Copying) -> None:
    copy.failing["bad"] = ValueError("no good: bad")
    copy.publish("bad", "next", key="k")
    for _ in range(3):
        drain()
        let_time_pass(seconds=400)
    assert states() == {"bad": "dead", "next": "waiting"}
    assert Message.objects.using(SOURCE).get(dead_at__isnull=False).error == "ValueError: no good: …"
    assert copy.effects == []
    copy.failing.clear()
    assert services.replay(Message.objects.using(SOURCE).all()) == 1
    drain()
    assert copy.effects == ["bad", "next"]


@override_settings(OUTBOX_MAX_ATTEMPTS=1)
def test_dead_message_that_is_discarded_lets_its_key_go_on_and_keeps_its_error(copy: Copying) -> None:
    copy.failing[1] = ValueError("no")
    copy.publish(1, 2, key="k")
    drain()
    assert services.discard(Message.objects.using(SOURCE).all()) == 1
    drain()
    assert copy.effects == [2]
    assert states() == {1: "discarded", 2: "done"}
    assert Message.objects.using(SOURCE).exclude(error="").count() == 1


def test_nothing_of_the_payload_is_in_the_error(copy: Copying) -> None:
    secret = {"mail": "ada@example.com", "deep": [{"pin": 4711}], "flag": True}
    payload = str(secret)
    handler(copy.topic, name="leaky", destination=CacheEntry)(
        lambda payload: CacheEntry.objects.create(key=f"{payload['mail']} {payload['deep'][0]['pin']}", value=1)
    )
    registry.handlers.pop("copy")
    with transaction.atomic(using=SOURCE):
        publish(copy.topic, secret, using=SOURCE)
    drain()
    error = Message.objects.using(SOURCE).get().error
    assert error.startswith("IntegrityError")
    assert "ada" not in error
    assert "4711" not in error
    assert payload not in error


def test_outage_is_no_attempt_and_nothing_is_marked(copy: Copying) -> None:
    copy.publish(1, 2)
    with refusing(DESTINATION):
        with pytest.raises(Unavailable):
            Lane(SOURCE, DESTINATION).deliver()
        assert drain() == (0, 0, ["users_db to cache_db"])
    assert states() == {1: "waiting", 2: "waiting"}
    assert copy.effects == []


@pytest.mark.sqlite(DESTINATION)
@override_settings(OUTBOX_MAX_ATTEMPTS=1)
def test_destination_that_is_full_is_out_although_it_can_be_read(
    copy: Copying, caplog: pytest.LogCaptureFixture
) -> None:
    copy.publish("x" * 1_000_000, 2)
    with full(DESTINATION):
        assert drain() == (0, 0, ["users_db to cache_db"])
    assert [record.message for record in caplog.records] == [
        "Messages wait on the way from users_db to cache_db (no room left on cache_db)."
    ]
    assert set(states().values()) == {"waiting"}
    assert drain().delivered == 2


@pytest.mark.sqlite(SOURCE)
def test_source_that_is_full_is_out_although_it_can_be_read(copy: Copying) -> None:
    def fill(payload: Any) -> None:
        with connections[SOURCE].cursor() as cursor:
            cursor.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")

    handler(copy.topic, name="filling", destination=CacheEntry)(fill)
    copy.publish(1)
    with full(SOURCE):
        assert drain() == (0, 0, ["users_db to cache_db"])
    assert set(states().values()) == {"waiting"}


def test_message_that_a_database_refuses_alone_and_twice_although_it_is_there_counts_as_failing(copy: Copying) -> None:
    copy.failing[1] = OperationalError("the connection is lost")
    copy.publish(*range(4))
    assert Lane(SOURCE, DESTINATION).deliver() == (3, 1, frozenset())
    assert states() == {0: "done", 1: "failing", 2: "done", 3: "done"}
    assert copy.seen[-1] == 1


def test_message_that_is_refused_once_is_not_failing(copy: Copying) -> None:
    refusals = [OperationalError("the connection is lost")]

    def refuse_once(payload: Any) -> None:
        if refusals:
            raise refusals.pop()

    handler(copy.topic, name="refusing", destination=CacheEntry)(refuse_once)
    copy.publish(1)
    assert drain() == (2, 0, [])
    assert not refusals


def test_message_that_is_refused_and_tried_again_costs_the_others_nothing(copy: Copying) -> None:
    copy.failing["poison"] = OperationalError("the connection is lost")
    copy.publish("poison", key="p")
    lane = Lane(SOURCE, DESTINATION)
    assert lane.step() == 0
    let_time_pass(seconds=2)
    copy.publish(*range(3), key="k")
    copy.publish("after it", key="p")
    copy.seen.clear()
    assert lane.step() == 0
    assert copy.seen == [0, 1, 2, "poison"]
    assert states() == {"poison": "failing", 0: "done", 1: "done", 2: "done", "after it": "waiting"}


def test_what_failed_before_is_not_tried_before_what_is_older_in_its_key(copy: Copying) -> None:
    copy.publish(1, 2, 3, key="k")
    Message.objects.using(SOURCE).filter(payload=2).update(attempts=1)
    drain()
    assert copy.seen == [1, 2, 3]


@override_settings(OUTBOX_MAX_ATTEMPTS=1)
def test_only_what_is_older_is_in_the_way_of_a_message(copy: Copying) -> None:
    copy.failing[2] = ValueError()
    copy.publish(1, 2, 3, key="k")
    drain()
    Message.objects.using(SOURCE).filter(payload=1).update(done_at=None)
    assert drain() == (1, 0, [])
    assert states() == {1: "done", 2: "dead", 3: "waiting"}


def test_lane_in_trouble_waits_and_goes_on(copy: Copying, caplog: pytest.LogCaptureFixture) -> None:
    lane = Lane(SOURCE, DESTINATION)
    copy.publish(1)
    with refusing(DESTINATION):
        assert lane.step() == 1
        assert lane.step() == 1
    assert [record.message for record in caplog.records] == [
        "Messages wait on the way from users_db to cache_db (OperationalError)."
    ]
    assert lane.step() == 0
    assert lane.step() == 0.2


def test_unknown_handler_waits_until_it_is_there_again(copy: Copying) -> None:
    copy.publish(1)
    unknown = registry.handlers.pop("copy")
    assert drain() == (0, 0, [])
    assert states() == {1: "waiting"}
    registry.handlers["copy"] = unknown
    assert drain().delivered == 1


def test_handler_that_breaks_the_transaction_takes_nothing_with_it(copy: Copying) -> None:
    def break_it(payload: Any) -> None:
        if payload == 2:
            with connections[DESTINATION].cursor() as cursor:
                cursor.execute("SELECT nonsense FROM nowhere")

    handler(copy.topic, name="breaking", destination=CacheEntry)(break_it)
    copy.publish(1, 2, 3)
    drain()
    waiting = Message.objects.using(SOURCE).filter(done_at=None)
    assert [(message.handler, message.payload) for message in waiting] == [("breaking", 2)]
    assert copy.effects == [1, 2, 3]


def ask_source_in_vain() -> None:
    with connections[SOURCE].cursor() as cursor:
        cursor.execute("SELECT nonsense FROM nowhere")


@override_settings(OUTBOX_MAX_ATTEMPTS=2)
def test_handler_that_fails_on_the_source_becomes_a_dead_letter_and_takes_nothing_with_it(copy: Copying) -> None:
    def ask(payload: Any) -> None:
        if payload == 2:
            ask_source_in_vain()

    handler(copy.topic, name="asking", destination=CacheEntry)(ask)
    copy.publish(1, 2, 3)
    for _ in range(2):
        assert not drain().unavailable
        let_time_pass(seconds=400)
    dead = Message.objects.using(SOURCE).get(done_at=None)
    assert (dead.handler, dead.payload, dead.state, dead.attempts) == ("asking", 2, "dead", 2)
    assert "nowhere" in dead.error
    assert copy.effects == [1, 2, 3]


@override_settings(OUTBOX_MAX_ATTEMPTS=1)
def test_handler_that_keeps_a_failure_on_the_source_to_itself_has_its_effect_once_and_is_done(copy: Copying) -> None:
    def ask(payload: Any) -> None:
        CacheEntry.objects.create(key=f"asking {payload}", value=1, expires_at="2036-01-02T03:04:05Z")
        with suppress(DatabaseError):
            ask_source_in_vain()

    handler(copy.topic, name="asking", destination=CacheEntry)(ask)
    copy.publish(1, 2)
    copy.publish(3, key="k")
    assert drain() == (6, 0, [])
    assert CacheEntry.objects.filter(key__startswith="asking ").count() == 3
    assert set(states().values()) == {"done"}
    assert drain() == (0, 0, [])
