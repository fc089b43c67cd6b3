"""What people do with messages: status, replay, discard, prune, and delivering anew after a restore."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from apps.cache.models import CacheEntry
from apps.outbox import registry, services
from apps.outbox.models import Message, Receipt
from apps.outbox.selectors import Backlog, backlog
from tests.apps.outbox.conftest import DESTINATION, SOURCE, Copying, Subscribe, drain, refusing, states

pytestmark = pytest.mark.django_db(databases=[SOURCE, DESTINATION])
everywhere = pytest.mark.django_db(databases=["default", SOURCE, "analytics_db", DESTINATION])
one_attempt = override_settings(OUTBOX_MAX_ATTEMPTS=1)


def run(capsys: pytest.CaptureFixture[str], *args: Any, database: str = SOURCE) -> str:
    call_command("outbox", *args, "--database", database)
    return capsys.readouterr().out.strip()


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


@everywhere
@one_attempt
def test_backlog_counts_what_waits_and_what_is_dead_by_source_in_three_queries_each(
    copy: Copying, django_assert_num_queries: Any
) -> None:
    copy.failing[1] = ValueError()
    copy.publish(1, 2, key="k")
    copy.publish(3)
    drain()
    Message.objects.using(SOURCE).update(created_at=days_ago(1))
    with django_assert_num_queries(3, using=SOURCE):
        found = backlog()
    assert list(found) == ["default", "users_db", "analytics_db", "cache_db"]
    assert found.pop(SOURCE) == Backlog(1, pytest.approx(86400, abs=60), 1)  # type: ignore[arg-type]
    assert set(found.values()) == {Backlog(0, None, 0)}


def test_status_names_handlers_and_those_that_are_in_no_code(
    copy: Copying, subscribe: Subscribe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "status") == "users_db: nothing waits"
    subscribe(name="gone")
    copy.publish(1, 2)
    registry.handlers.pop("gone")
    assert run(capsys, "status").splitlines() == [
        "users_db: copy: 2 waiting, the oldest for 0 s; 0 dead",
        "users_db: gone: 2 waiting, the oldest for 0 s; 0 dead. No handler here has this name: they wait for one",
    ]


@one_attempt
def test_command_replays_and_discards_the_dead_letters_that_are_chosen(
    copy: Copying, capsys: pytest.CaptureFixture[str]
) -> None:
    copy.failing |= {1: ValueError(), 2: ValueError(), 3: ValueError()}
    copy.publish(1, 2, 3)
    drain()
    copy.failing.clear()
    uid = Message.objects.using(SOURCE).get(payload=1).uid
    assert run(capsys, "replay", "--uid", uid) == "users_db: 1 to be delivered after all"
    assert run(capsys, "replay", "--topic", "things.unsaid") == "users_db: 0 to be delivered after all"
    assert run(capsys, "discard", "--handler", "copy") == "users_db: 2 given up"
    drain()
    assert states() == {1: "done", 2: "discarded", 3: "discarded"}
    assert copy.effects == [1]


@pytest.mark.parametrize("args", [["replay"], ["discard", "--all", "--topic", "x"]], ids=" ".join)
def test_command_wants_to_know_which_dead_letters(args: list[str]) -> None:
    with pytest.raises(CommandError, match="Say which dead letters"):
        call_command("outbox", *args, "--database", SOURCE)


def test_only_dead_letters_are_replayed_and_discarded(copy: Copying) -> None:
    copy.failing[2] = ValueError()
    copy.publish(1, 2)
    drain()
    everything = Message.objects.using(SOURCE).all()
    assert (services.replay(everything), services.discard(everything)) == (0, 0)
    assert states() == {1: "done", 2: "failing"}


@everywhere
def test_what_was_delivered_long_ago_is_pruned_and_what_waits_is_not(
    copy: Copying, capsys: pytest.CaptureFixture[str]
) -> None:
    copy.publish(1, 2)
    drain()
    copy.publish(3)
    Message.objects.using(SOURCE).update(created_at=days_ago(99))
    Message.objects.using(SOURCE).filter(payload=1).update(done_at=days_ago(31))
    assert run(capsys, "prune") == "users_db: 1 messages and 0 receipts deleted"
    assert states() == {2: "done", 3: "waiting"}
    Message.objects.using(SOURCE).filter(payload=2).update(done_at=days_ago(2))
    assert run(capsys, "prune", "--older-than", "1").startswith("users_db: 1 messages")


@everywhere
def test_receipt_outlives_its_message(copy: Copying) -> None:
    copy.publish(1)
    drain()
    Receipt.objects.using(DESTINATION).update(at=days_ago(99))
    # Delivered again and again, it is an old message that was delivered a short time ago.
    Message.objects.using(SOURCE).update(done_at=days_ago(1))
    assert services.prune(DESTINATION, days=30).receipts == 0
    Message.objects.using(SOURCE).update(done_at=None)
    assert services.prune(DESTINATION, days=30).receipts == 0
    drain()
    assert copy.effects == [1]
    Message.objects.using(SOURCE).all().delete()
    assert services.prune(DESTINATION, days=30).receipts == 1


@everywhere
def test_no_receipt_is_pruned_while_a_source_cannot_be_asked(copy: Copying, capsys: pytest.CaptureFixture[str]) -> None:
    Receipt.objects.using(DESTINATION).create(uid=uuid4(), handler="copy", at=days_ago(99))
    with refusing(SOURCE), pytest.raises(CommandError, match="Not done: cache_db"):
        run(capsys, "prune", database=DESTINATION)
    assert Receipt.objects.using(DESTINATION).count() == 1


@everywhere
def test_receipts_are_pruned_in_chunks_that_pass_over_those_to_keep(
    copy: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "CHUNK", 2)
    copy.publish(*range(5))
    drain()
    Receipt.objects.using(DESTINATION).update(at=days_ago(99))
    Message.objects.using(SOURCE).exclude(payload__in=[1, 3]).delete()
    assert services.prune(DESTINATION, days=30).receipts == 3
    assert Receipt.objects.using(DESTINATION).count() == 2


@everywhere
@pytest.mark.parametrize(("days", "kept"), [(1, 60), (30, 60), (40, 80)])
def test_receipts_are_kept_for_twice_as_long_as_messages_and_as_the_retention(days: int, kept: int) -> None:
    receipts = Receipt.objects.using(DESTINATION)
    for age in (kept - 1, kept + 1):
        receipts.create(uid=uuid4(), handler="copy", at=days_ago(age))
    assert services.prune(DESTINATION, days=days).receipts == 1
    assert receipts.get().at > days_ago(kept)


@pytest.mark.parametrize("days", ["0", "-1"])
def test_prune_of_less_than_a_day_is_refused(days: str) -> None:
    with pytest.raises(CommandError, match=rf"--older-than: What was delivered .* at least 1 day, not for {days}: it"):
        call_command("outbox", "prune", f"--older-than={days}", "--database", SOURCE)


@everywhere
def test_restored_destination_gets_what_it_lacks_and_nothing_twice(copy: Copying) -> None:
    copy.publish(*range(4), key="k")
    drain()
    # What was backed up: the effect and the receipt of 0 and 1. And 3 was given up by somebody.
    moment = timezone.now()
    Message.objects.using(SOURCE).filter(payload=0).update(done_at=moment - timedelta(seconds=1))
    Message.objects.using(SOURCE).filter(payload=3).update(dead_at=moment)
    Message.objects.using(SOURCE).exclude(payload=0).update(done_at=moment)
    CacheEntry.objects.filter(key__in=["copy 2", "copy 3"]).delete()
    lost = Message.objects.using(SOURCE).filter(payload__in=[2, 3]).values_list("uid", flat=True)
    Receipt.objects.using(DESTINATION).filter(pk__in=list(lost)).delete()
    copy.seen.clear()
    assert services.replay_since(DESTINATION, moment)[SOURCE] == 2
    drain()
    assert copy.seen == [2]
    assert copy.effects == [0, 1, 2]
    assert states() == {0: "done", 1: "done", 2: "done", 3: "discarded"}


@everywhere
def test_handlers_of_other_destinations_are_not_replayed(copy: Copying) -> None:
    copy.publish(1)
    drain()
    assert services.replay_since(SOURCE, days_ago(1))[SOURCE] == 0


def test_relay_that_runs_once_says_what_it_did(copy: Copying, capsys: pytest.CaptureFixture[str]) -> None:
    copy.publish(1, 2)
    call_command("relay_outbox", "--once", "--database", SOURCE)
    assert capsys.readouterr().out == "2 delivered\n"
    copy.failing[3] = ValueError()
    copy.publish(3)
    with pytest.raises(CommandError, match=r"Failed: 1. See manage.py outbox status."):
        call_command("relay_outbox", "--once", "--database", SOURCE)


@everywhere
def test_relay_that_runs_once_delivers_what_it_can_and_says_what_is_wrong_with_a_database_that_answers(
    copy: Copying,
) -> None:
    copy.publish(1)
    with connections["default"].cursor() as cursor:
        cursor.execute("ALTER TABLE outbox_message RENAME TO elsewhere")
    with pytest.raises(CommandError, match=r"because of default: .*outbox_message"):
        call_command("relay_outbox", "--once", "--database", "default", "--database", SOURCE)
    assert states() == {1: "done"}


def test_relay_refuses_a_database_that_sends_nothing() -> None:
    with pytest.raises(CommandError, match=r"'legacy_db' sends no messages. There are: default, users_db"):
        call_command("relay_outbox", "--database", "legacy_db")


def test_payload_is_stored_as_json(copy: Copying) -> None:
    copy.publish({"a": [1, "ü", None, True]})
    assert Message.objects.using(SOURCE).get().payload == json.loads('{"a": [1, "ü", null, true]}')
