"""The tutorials' ways to move rows between databases, what each of them does, and what routers.moving does instead."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password
from django.db import IntegrityError, connections

from apps.cache.models import CacheEntry
from apps.users.models import User
from routers.moving import RowExists, move

OLD, NEW = "cache_db", "users_db"
pytestmark = [pytest.mark.django_db(databases=[OLD, NEW], transaction=True), pytest.mark.sqlite(OLD, NEW)]


def copy_table(table: str, from_alias: str, to_alias: str) -> None:
    with connections[from_alias].cursor() as source, connections[to_alias].cursor() as destination:
        source.execute("SELECT sql FROM sqlite_master WHERE tbl_name = %s AND sql IS NOT NULL", [table])
        for (statement,) in source.fetchall():
            destination.execute(statement)


def drop_table(table: str, alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f'DROP TABLE "{table}"')


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """The table of the cache's entries is on NEW, too, and that of the users on OLD."""
    copy_table("cache_cacheentry", OLD, NEW)
    copy_table("users_user", NEW, OLD)
    yield
    drop_table("cache_cacheentry", NEW)
    drop_table("users_user", OLD)


@pytest.fixture
def entry() -> CacheEntry:
    return add(OLD, "moved", pk=1)


@pytest.fixture
def stranger() -> CacheEntry:
    """A row of NEW that has nothing to do with the entry but the number."""
    return add(NEW, "stranger", pk=1)


def add(alias: str, key: str, **fields: Any) -> CacheEntry:
    return CacheEntry.objects.using(alias).create(key=key, expires_at="2100-01-01T00:00:00Z", **fields)


def on(alias: str) -> dict[int, str]:
    return dict(CacheEntry.objects.using(alias).order_by("pk").values_list("pk", "key"))


def test_save_using_with_the_kept_key_overwrites_the_strangers_row(entry: CacheEntry, stranger: CacheEntry) -> None:
    entry.save(using=NEW)
    assert on(NEW) == {1: "moved"}


def test_save_using_with_the_key_cleared_adds_a_row_under_another_key(entry: CacheEntry, stranger: CacheEntry) -> None:
    entry.pk = None
    entry.save(using=NEW)
    assert on(NEW) == {1: "stranger", 2: "moved"}


def test_save_using_copies_and_does_not_move(entry: CacheEntry) -> None:
    entry.pk = None
    entry.save(using=NEW)
    assert on(OLD) == on(NEW) == {1: "moved"}


def test_delete_using_after_it_deletes_by_the_new_key_and_so_a_strangers_row(
    entry: CacheEntry, stranger: CacheEntry
) -> None:
    add(OLD, "neighbour", pk=2)
    entry.pk = None
    entry.save(using=NEW)  # it is row 2 there
    entry.delete(using=OLD)
    assert on(OLD) == {1: "moved"}


def test_force_insert_raises_where_the_key_is_taken(entry: CacheEntry, stranger: CacheEntry) -> None:
    with pytest.raises(IntegrityError):
        entry.save(using=NEW, force_insert=True)
    assert on(NEW) == {1: "stranger"}


def test_force_insert_and_delete_using_move_a_row_whose_key_is_free(entry: CacheEntry) -> None:
    entry.save(using=NEW, force_insert=True)
    entry.delete(using=OLD)
    assert on(OLD) == {}
    assert on(NEW) == {1: "moved"}


def test_force_insert_again_after_a_crash_in_between_cannot_go_on(entry: CacheEntry) -> None:
    entry.save(using=NEW, force_insert=True)  # and the process ends here
    again = CacheEntry.objects.using(OLD).get()
    with pytest.raises(IntegrityError):
        again.save(using=NEW, force_insert=True)


def test_save_using_fills_in_the_moment_and_loses_the_true_one(entry: CacheEntry) -> None:
    before = entry.created_at
    entry.pk = None
    entry.save(using=NEW, force_insert=True)
    assert CacheEntry.objects.using(NEW).get().created_at > before


def test_delete_using_deletes_there_and_not_where_the_instance_came_from(
    entry: CacheEntry, stranger: CacheEntry
) -> None:
    entry.delete(using=NEW)
    assert on(OLD) == {1: "moved"}
    assert on(NEW) == {}


def test_refresh_from_db_using_reads_the_row_of_that_database(entry: CacheEntry, stranger: CacheEntry) -> None:
    entry.refresh_from_db(using=NEW)
    assert (entry.key, entry._state.db) == ("stranger", NEW)


def test_db_manager_lets_a_managers_own_methods_work_on_that_database() -> None:
    user = User.objects.db_manager(OLD).create_user("ada", "ada@example.com", "pw")
    assert user._state.db == OLD
    assert check_password("pw", User.objects.using(OLD).get(username="ada").password)
    assert not User.objects.using(NEW).exists()


def test_ours_refuses_the_strangers_key_and_moves_under_another_one(entry: CacheEntry, stranger: CacheEntry) -> None:
    with pytest.raises(RowExists, match=r"cache.CacheEntry 1 is another row on users_db than on cache_db"):
        move([entry], NEW)
    assert move([entry], NEW, keys="renumber") == {1: 2}
    assert on(OLD) == {}
    assert on(NEW) == {1: "stranger", 2: "moved"}


def test_ours_goes_on_after_a_crash_in_between_and_keeps_every_value(entry: CacheEntry) -> None:
    entry.save_base(raw=True, using=NEW)  # copied as it was, and the process ended here
    move(CacheEntry.objects.using(OLD).all(), NEW)
    assert on(OLD) == {}
    assert CacheEntry.objects.using(NEW).get().created_at == entry.created_at
