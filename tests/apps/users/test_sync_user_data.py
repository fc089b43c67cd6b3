"""People as entries of the cache: whoever has changed, in batches, going on where the last run ended."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from apps.cache.models import CacheEntry
from apps.outbox.relay import Relay
from apps.users import services, syncing
from apps.users.models import User
from apps.users.syncing import BOOKMARK, FULL_EVERY, Synced, sync_user_data
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])


class Killed(BaseException):
    """As a signal would end it: nobody catches it."""


def entries() -> dict[str, Any]:
    return dict(CacheEntry.objects.filter(key__startswith="user:").values_list("key", "value"))


def change(user: User, at: datetime, **fields: Any) -> None:
    User.objects.filter(pk=user.pk).update(updated_at=at, **fields)


def days_pass(days: float) -> None:
    """Since the last pass; so that its bookmark is that much older."""
    entry: Any = CacheEntry.objects.get(key=BOOKMARK)
    for name in ("began", "full_began", "changed"):
        entry.value[name] = (datetime.fromisoformat(entry.value[name]) - timedelta(days=days)).isoformat()
    entry.save()


def many_people() -> None:
    User.objects.bulk_create(User(username=f"p{n}", email=f"p{n}@example.com") for n in range(2100))


@pytest.fixture
def people() -> list[User]:
    """Two of them changed at the same moment, a month and an hour ago; the others before."""
    found = UserFactory.create_batch(5)
    for hours, user in zip((1, 4, 3, 1, 2), found, strict=True):
        change(user, timezone.now().replace(microsecond=0) - timedelta(days=30, hours=hours))
    return found


@pytest.fixture
def order(people: list[User]) -> list[int]:
    return [people[index].pk for index in (1, 2, 4, 0, 3)]


def killed_after(batches: int) -> None:
    left = [batches]

    def advance(number: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    with suppress(Killed):
        sync_user_data(batch_size=1, advance=advance)


def test_entry_holds_what_may_be_kept_of_a_person(people: list[User]) -> None:
    user = people[0]
    assert sync_user_data() == Synced(None, is_continued=False, written=5)
    assert entries()[f"user:{user.pk}"] == {
        "user_id": user.pk, "username": user.username, "display_name": user.username, "bio": "",
    }  # fmt: skip
    assert User.objects.using("users_db").count() == len(entries()) == 5


def test_people_are_read_in_batches_in_the_order_of_their_changes(
    people: list[User], order: list[int], django_assert_num_queries: Callable[..., Any]
) -> None:
    sizes: list[int] = []
    # Each batch, and who is gone of it; then that nothing is left, and who is gone of all.
    with django_assert_num_queries(8, using="users_db"):
        sync_user_data(batch_size=2, advance=sizes.append)
    assert sizes == [2, 2, 1]
    assert list(CacheEntry.objects.exclude(key=BOOKMARK).order_by("pk").values_list("key", flat=True)) == [
        f"user:{pk}" for pk in order
    ]


def test_second_run_takes_only_who_has_changed(people: list[User]) -> None:
    sync_user_data()
    days_pass(1)
    change(people[2], timezone.now() - timedelta(hours=1), bio="new")
    change(people[3], timezone.now() - timedelta(days=2), bio="not seen")
    synced = sync_user_data()
    assert (synced.written, synced.is_continued) == (1, False)
    assert synced.since
    bios = {key: value["bio"] for key, value in entries().items()}
    assert bios.pop(f"user:{people[2].pk}") == "new"
    assert set(bios.values()) == {""}


def test_pass_begins_a_little_before_the_one_before_it_began(people: list[User]) -> None:
    sync_user_data()
    entry: Any = CacheEntry.objects.get(key=BOOKMARK)
    began = datetime.fromisoformat(entry.value["began"])
    # Saved before the last pass began, and committed when that was over.
    change(people[0], began - timedelta(seconds=9), bio="late")
    sync_user_data()
    assert entries()[f"user:{people[0].pk}"]["bio"] == "late"


@pytest.mark.parametrize("batches", range(1, 6))
def test_killed_run_is_continued_where_it_ended(people: list[User], order: list[int], batches: int) -> None:
    killed_after(batches)
    assert entries().keys() == {f"user:{pk}" for pk in order[:batches]}
    assert sync_user_data() == Synced(None, is_continued=True, written=5 - batches)
    assert len(entries()) == 5


def test_what_is_committed_late_while_a_run_lies_dead_is_for_the_next(people: list[User], order: list[int]) -> None:
    killed_after(3)
    days_pass(1)
    # Behind the bookmark, and yet after the pass began.
    entry: Any = CacheEntry.objects.get(key=BOOKMARK)
    entry.value["changed"] = timezone.now().isoformat()
    entry.save()
    change(User.objects.get(pk=order[0]), timezone.now() - timedelta(hours=1), bio="late")
    sync_user_data()
    assert entries()[f"user:{order[0]}"]["bio"] == ""
    sync_user_data()
    assert entries()[f"user:{order[0]}"]["bio"] == "late"


@pytest.mark.django_db(databases=["users_db", "cache_db"], transaction=True)
def test_bookmark_is_written_with_its_batch_or_neither_is() -> None:
    many_people()

    def fail(send: Callable[..., Any], statement: str, *args: Any) -> Any:
        result = send(statement, *args)
        if statement.startswith("INSERT"):  # of which there may be several, or one that is a transaction by itself
            raise Killed
        return result

    with connections["cache_db"].execute_wrapper(fail), suppress(Killed):
        sync_user_data(batch_size=2100)
    has_bookmark = CacheEntry.objects.filter(key=BOOKMARK).exists()
    assert len(entries()) == (2100 if has_bookmark else 0)
    sync_user_data(batch_size=2100)
    assert len(entries()) == 2100


def test_everybody_is_taken_anew_long_before_an_entry_expires(people: list[User]) -> None:
    sync_user_data()
    days_pass(FULL_EVERY.days - 1)
    assert sync_user_data().since
    days_pass(1.1)
    assert sync_user_data() == Synced(None, is_continued=False, written=5)
    assert FULL_EVERY * 2 < syncing.LIFETIME


def test_emptied_cache_is_filled_again(people: list[User]) -> None:
    sync_user_data()
    CacheEntry.objects.all().delete()
    assert sync_user_data().written == 5


def test_message_of_a_deletion_takes_the_entry_away(people: list[User]) -> None:
    sync_user_data()
    services.delete_user(user=people[0])
    Relay().drain()
    assert len(entries()) == 4


def test_full_pass_forgets_who_is_gone_with_all_that_is_kept_of_them(people: list[User]) -> None:
    sync_user_data()
    gone, other = people[:2]
    for key in (f"user:{gone.pk}:stats", f"user:{other.pk}:stats", "user:me"):
        CacheEntry.objects.create(key=key, value=1, expires_at=timezone.now())
    gone_id = gone.pk
    User.objects.filter(pk=gone_id)._raw_delete("users_db")
    assert sync_user_data().forgotten == 0
    assert f"user:{gone_id}" in entries()
    assert sync_user_data(full=True) == Synced(None, is_continued=False, written=4, forgotten=2)
    assert sorted(entries()) == sorted(
        [*(f"user:{user.pk}" for user in people[1:]), f"user:{other.pk}:stats", "user:me"]
    )


def test_full_pass_that_was_killed_is_finished_as_one(people: list[User]) -> None:
    sync_user_data()
    User.objects.filter(pk=people[0].pk)._raw_delete("users_db")
    days_pass(1)
    with suppress(Killed):
        sync_user_data(full=True, batch_size=3, advance=lambda number: (_ for _ in ()).throw(Killed))
    assert sync_user_data() == Synced(None, is_continued=True, written=1, forgotten=1)


def test_person_who_goes_between_the_reading_and_the_writing_leaves_no_entry(people: list[User]) -> None:
    gone = False

    def go(send: Callable[..., Any], *args: Any) -> Any:
        nonlocal gone
        result = send(*args)
        if not gone:
            gone = True
            services.delete_user(user=people[0])
            Relay().drain()
        return result

    with connections["users_db"].execute_wrapper(go):
        synced = sync_user_data()
    assert (synced.written, synced.forgotten, len(entries())) == (5, 1, 4)


def test_many_people_go_into_statements_that_every_engine_takes() -> None:
    many_people()
    assert sync_user_data(batch_size=2100).written == 2100
    assert len(entries()) == 2100


def test_command_says_what_it_did(people: list[User], capsys: pytest.CaptureFixture[str]) -> None:
    killed_after(2)
    call_command("sync_user_data")
    call_command("sync_user_data")
    call_command("sync_user_data", "--full", "--batch-size", 2)
    continued, later, full = capsys.readouterr().out.splitlines()
    assert continued == "3 written, 0 forgotten (everybody, continued where the last run ended)"
    assert later.startswith("0 written, 0 forgotten (who changed since 20")
    assert full == "5 written, 0 forgotten (everybody)"


def test_command_refuses_a_batch_of_nothing() -> None:
    with pytest.raises(CommandError, match="--batch-size is 0; it must be at least 1"):
        call_command("sync_user_data", "--batch-size", "0")
