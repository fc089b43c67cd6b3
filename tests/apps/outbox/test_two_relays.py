"""Two relays: what one has claimed keeps the other from nothing else, and what both have in hand has one effect."""

import time
from threading import Thread
from typing import Any

import pytest
from django.db import connections, transaction

from apps.outbox.models import Message, Receipt
from apps.outbox.publishing import publish
from apps.outbox.registry import declare_topic, handler
from apps.outbox.relay import BATCH, WINDOW, Lane
from tests.apps.outbox.conftest import let_time_pass, states

SOURCE, DESTINATION = "users_db", "analytics_db"


@pytest.mark.django_db(databases=[SOURCE, DESTINATION], transaction=True)
def test_second_relay_waits_for_the_receipt_of_the_first_and_leaves_the_effect_to_it() -> None:
    if connections[DESTINATION].vendor != "postgresql":
        pytest.skip("needs analytics_db on PostgreSQL: python -m tests.servers python -m pytest tests/apps/outbox")
    seen: list[Any] = []
    topic = declare_topic("said")
    handler(topic, name="taken", destination=DESTINATION)(seen.append)
    with transaction.atomic(using=SOURCE):
        publish(topic, 1, key="k", using=SOURCE)
    message = Message.objects.using(SOURCE).get()
    second = Thread(target=deliver)
    with transaction.atomic(using=DESTINATION):
        Receipt.objects.using(DESTINATION).create(uid=message.uid, handler="taken")
        second.start()
        until = time.monotonic() + 1
        while not somebody_waits():
            assert time.monotonic() < until
            time.sleep(0.01)
    second.join()
    let_time_pass(seconds=2)
    deliver()
    assert seen == []
    assert states() == {1: "done"}


@pytest.mark.django_db(databases=[SOURCE, DESTINATION], transaction=True)
def test_second_relay_delivers_what_is_behind_a_window_full_of_the_key_that_the_first_has() -> None:
    if connections[SOURCE].vendor != "postgresql":
        pytest.skip("needs users_db on PostgreSQL: python -m tests.servers python -m pytest tests/apps/outbox")
    seen: list[Any] = []
    topic = declare_topic("said")
    handler(topic, name="taken", destination=DESTINATION)(seen.append)
    with transaction.atomic(using=SOURCE):
        for _ in range(WINDOW + BATCH):
            publish(topic, "hot", key="hot", using=SOURCE)
        for number in range(20):
            publish(topic, number, key=f"key {number}", using=SOURCE)
        publish(topic, "without a key", using=SOURCE)
    with Lane(SOURCE, DESTINATION)._claimed() as claimed:
        second = Thread(target=deliver)
        second.start()
        second.join()
    assert {message.key for message in claimed} == {"hot"}
    assert len(claimed) == BATCH
    assert seen == [*range(20), "without a key"]


def somebody_waits() -> bool:
    with connections[DESTINATION].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def deliver() -> None:
    try:
        Lane(SOURCE, DESTINATION).deliver()
    finally:
        for alias in (SOURCE, DESTINATION):
            connections[alias].close()
