from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.cache.models import CacheEntry
from apps.cache.selectors import CHUNK, get_entry, get_many, list_entries
from apps.cache.services import purge, set_entry, set_many
from tests.factories.cache import CacheEntryFactory

pytestmark = pytest.mark.django_db(databases=["cache_db"])


def keys() -> list[str]:
    return list(CacheEntry.objects.values_list("key", flat=True))


@pytest.mark.django_db(databases="__all__")
def test_entry_is_on_cache_db_and_on_no_other() -> None:
    set_entry(key="k", value=1, timeout=60)
    table = CacheEntry._meta.db_table
    there = [alias for alias in settings.DATABASES if table in connections[alias].introspection.table_names()]
    assert there == ["cache_db"]
    assert CacheEntry.objects.using("cache_db").get().key == "k"


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, "text", 1.5, {"a": [1, {"b": None}]}, "ü\u2028\x00"])
def test_value_comes_back_as_it_was_and_a_falsy_one_is_a_hit(value: Any) -> None:
    set_entry(key="k", value=value, timeout=60)
    entry = get_entry("k")
    assert entry is not None
    assert entry.value == value
    assert type(entry.value) is type(value)


def test_missing_and_expired_are_misses() -> None:
    CacheEntryFactory.create(key="old", expired=True)
    assert get_entry("old") is None
    assert get_entry("never") is None
    assert get_many(["old", "never"]) == {}


def test_entry_is_written_and_replaced_in_one_statement() -> None:
    for value in (1, 2):
        with CaptureQueriesContext(connections["cache_db"]) as queries:
            set_entry(key="k", value=value, timeout=60)
        assert [query["sql"].split()[0] for query in queries if "SAVEPOINT" not in query["sql"]] == ["INSERT"]
    assert [entry.value for entry in CacheEntry.objects.all()] == [2]


def test_replacing_renews_both_dates() -> None:
    CacheEntryFactory.create(key="k", expired=True)
    CacheEntry.objects.update(created_at=timezone.now() - timedelta(days=1))
    set_entry(key="k", value=None, timeout=60)
    entry = CacheEntry.objects.get()
    assert timedelta(0) < timezone.now() - entry.created_at < timedelta(minutes=1)
    assert timedelta(seconds=50) < entry.expires_at - timezone.now() <= timedelta(seconds=60)


def test_keys_are_told_apart_by_their_capitals() -> None:
    set_many(values={"a": 1, "A": 2}, timeout=60)
    assert {key: entry.value for key, entry in get_many(["a", "A"]).items()} == {"a": 1, "A": 2}


def test_many_are_written_and_read_together(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    values = {f"key:{number}": number for number in range(CHUNK + 1)}
    set_many(values=values, timeout=60)
    with django_assert_num_queries(2, using="cache_db"):
        found = get_many([*values, "key:0", "missing"])
    assert {key: entry.value for key, entry in found.items()} == values


def test_nothing_to_write_or_read_asks_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0, using="cache_db"):
        set_many(values={}, timeout=60)
        assert get_many([]) == {}


@pytest.mark.parametrize("key", ["k", "x" * 250, "ü" * 250, "with space", "%_'\"", "😀"])
def test_any_other_text_is_a_key(key: str) -> None:
    set_entry(key=key, value=1, timeout=60)
    assert get_entry(key)
    assert purge(keys=[key]) == 1


@pytest.mark.parametrize("key", ["", "x" * 251, "\x00", "a\nb", "tab\t", "\x7f", "\x85", "\ud800"])
def test_what_cannot_be_a_key_is_said_everywhere(key: str) -> None:
    for use in (
        lambda: set_entry(key=key, value=1, timeout=60),
        lambda: set_many(values={"good": 1, key: 1}, timeout=60),
        lambda: get_entry(key),
        lambda: get_many(["good", key]),
        lambda: purge(keys=["good", key]),
    ):
        with pytest.raises(ValueError, match=r"A cache key has (1 to 250|no control) characters"):
            use()
    assert keys() == []


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), float("inf"), timezone.now(), b"x", {(1, 2): 3}])
def test_value_that_is_not_json_is_refused_by_name_and_nothing_is_written(value: Any) -> None:
    with pytest.raises(ValueError, match="The value for 'bad' cannot be cached, because it is not JSON"):
        set_many(values={"good": 1, "bad": value}, timeout=60)
    assert keys() == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 10**12])
def test_timeout_that_is_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match=r"A cache entry (lives for more than 0|cannot live for)"):
        set_entry(key="k", value=1, timeout=timeout)


def test_purge_of_keys_says_how_many_there_were() -> None:
    set_many(values={f"key:{number}": 1 for number in range(CHUNK + 2)}, timeout=60)
    assert purge(keys=[*(f"key:{number}" for number in range(CHUNK + 1)), "key:0", "missing"]) == CHUNK + 1
    assert keys() == [f"key:{CHUNK + 1}"]
    assert purge(keys=[]) == 0


def test_purge_of_what_has_expired_spares_the_living() -> None:
    CacheEntryFactory.create(key="old", expired=True)
    CacheEntryFactory.create(key="live")
    assert purge(expired=True) == 1
    assert keys() == ["live"]


@pytest.mark.parametrize(("prefix", "left"), [("a:", ["A:2", "a", "b%:3"]), ("%", ["A:2", "a", "a:1", "b%:3"])])
def test_purge_under_a_prefix_is_exact(prefix: str, left: list[str]) -> None:
    set_many(values={"a:1": 1, "A:2": 1, "a": 1, "b%:3": 1}, timeout=60)
    assert purge(prefix=prefix) == 4 - len(left)
    assert keys() == left


def test_purge_of_everything() -> None:
    CacheEntryFactory.create_batch(3)
    assert purge(everything=True) == 3
    assert keys() == []


@pytest.mark.parametrize(
    "asked", [{}, {"prefix": ""}, {"keys": [], "expired": True}, {"prefix": "a", "everything": True}]
)
def test_purge_of_nothing_in_particular_deletes_nothing(asked: dict[str, Any]) -> None:
    CacheEntryFactory.create()
    with pytest.raises(ValueError, match="Say what to purge: exactly one of"):
        purge(**asked)
    assert len(keys()) == 1


def test_purge_is_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    CacheEntryFactory.create_batch(3, expired=True)
    with django_assert_num_queries(1, using="cache_db"):
        purge(expired=True)


def test_list_knows_sizes_without_fetching_values() -> None:
    set_many(values={"none": None, "text": "abc"}, timeout=60)
    entries = list_entries()
    assert {entry.key: entry.size for entry in entries} == {"none": 4, "text": 5}  # type: ignore[attr-defined]
    assert all("value" in entry.get_deferred_fields() for entry in entries)
