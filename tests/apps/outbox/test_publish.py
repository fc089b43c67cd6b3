"""What is written, where and when, and what is refused."""

from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from apps.outbox.models import Message
from apps.outbox.publishing import PublishedOutsideTransaction, publish
from apps.outbox.registry import NoOutbox, UnknownTopic, declare_topic
from tests.apps.outbox.conftest import SOURCE, Copying, Subscribe

pytestmark = pytest.mark.django_db(databases=[SOURCE])


def messages() -> list[tuple[Any, ...]]:
    return list(Message.objects.using(SOURCE).order_by("pk").values_list("topic", "handler", "key", "payload"))


def test_message_is_in_the_database_of_its_transaction_for_each_handler_of_the_topic(subscribe: Subscribe) -> None:
    copy = subscribe()
    subscribe(name="other")
    subscribe(topic="things.done", name="stranger")
    copy.publish({"n": [1, None]}, key="k")
    assert messages() == [
        (copy.topic, "copy", "k", {"n": [1, None]}),
        (copy.topic, "other", "k", {"n": [1, None]}),
    ]


def test_message_goes_with_the_transaction_that_is_rolled_back(copy: Copying) -> None:
    with transaction.atomic(using=SOURCE):
        publish(copy.topic, 1, using=SOURCE)
        transaction.set_rollback(True, using=SOURCE)
    assert messages() == []


def test_topic_without_handlers_writes_nothing() -> None:
    declare_topic("things.unheard")
    with transaction.atomic(using=SOURCE), CaptureQueriesContext(connections[SOURCE]) as asked:
        publish("things.unheard", 1, key="k", using=SOURCE)
    assert not [query for query in asked if "SAVEPOINT" not in query["sql"]]


def test_publishing_outside_a_transaction_is_refused_also_inside_that_of_a_test_case(copy: Copying) -> None:
    with pytest.raises(PublishedOutsideTransaction, match=r"Publish it inside transaction.atomic\(using='users_db'\)"):
        publish(copy.topic, 1, using=SOURCE)


@pytest.mark.django_db(databases=[SOURCE, "cache_db"])
def test_transaction_on_another_database_does_not_count(copy: Copying) -> None:
    with pytest.raises(PublishedOutsideTransaction), transaction.atomic(using="cache_db"):
        publish(copy.topic, 1, using=SOURCE)


def test_undeclared_topic_is_refused_and_those_that_exist_are_named(copy: Copying) -> None:
    with pytest.raises(UnknownTopic, match=r"'things.sad'. There are: things.said."):
        publish("things.sad", 1, using=SOURCE)


@pytest.mark.parametrize("alias", ["legacy_db", "users_replica_1", "nowhere"])
def test_alias_without_an_outbox_is_refused(copy: Copying, alias: str) -> None:
    with pytest.raises(NoOutbox, match=rf"Nothing can be published on '{alias}': messages are sent from .*users_db"):
        publish(copy.topic, 1, using=alias)


@pytest.mark.parametrize(
    "payload", [b"bytes", {"at": {1}}, float("nan"), [float("inf")], "a\0b", {"a\0": 1}, "\ud800"], ids=repr
)
def test_payload_that_is_not_json_or_cannot_be_stored_is_refused_and_the_transaction_lives(
    copy: Copying, payload: Any
) -> None:
    with transaction.atomic(using=SOURCE):
        with pytest.raises(ValueError, match=r"The payload of a message of things.said") as error:
            publish(copy.topic, payload, using=SOURCE)
        publish(copy.topic, "well", using=SOURCE)
    assert error.value.__cause__ is None
    assert [message[-1] for message in messages()] == ["well"]


def test_backslash_before_the_digits_of_a_nul_is_no_nul(copy: Copying) -> None:
    copy.publish("\\u0000")
    assert messages()[0][-1] == "\\u0000"


@pytest.mark.parametrize("key", ["k" * 201, "a\0b", 7], ids=["long", "nul", "number"])
def test_key_that_cannot_be_stored_is_refused(copy: Copying, key: Any) -> None:
    with pytest.raises(ValueError, match=r"The key of a message of things.said"), transaction.atomic(using=SOURCE):
        publish(copy.topic, 1, key=key, using=SOURCE)
