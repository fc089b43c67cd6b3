"""An insert that becomes an update, on an engine that takes a conflict target and on one that takes none."""

from datetime import UTC, datetime

import pytest
from django.db import NotSupportedError, connections

from apps.cache.models import CacheEntry
from routers.upsert import bulk_upsert

pytestmark = pytest.mark.django_db(databases=["cache_db"])
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def upsert(**values: int) -> None:
    entries = [CacheEntry(key=key, value=value, expires_at=LATER) for key, value in values.items()]
    bulk_upsert(CacheEntry, entries, unique_fields=["key"], update_fields=["value"], batch_size=2)


def test_new_rows_are_inserted_and_known_ones_updated_on_the_models_database() -> None:
    upsert(a=1, b=2)
    pk = CacheEntry.objects.get(key="a").pk
    upsert(a=3, c=4, d=5)
    assert dict(CacheEntry.objects.using("cache_db").values_list("key", "value")) == {"a": 3, "b": 2, "c": 4, "d": 5}
    assert CacheEntry.objects.get(key="a").pk == pk


def test_field_that_is_not_to_be_updated_is_left_as_it_was() -> None:
    upsert(a=1)
    CacheEntry.objects.update(expires_at=datetime(2099, 1, 1, tzinfo=UTC))
    upsert(a=2)
    assert CacheEntry.objects.get().expires_at.year == 2099


def test_engine_that_takes_no_conflict_target_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite in the place of MySQL: it too takes an update without a target, when it is asked for it."""
    connection = connections["cache_db"]
    monkeypatch.setattr(connection.features, "supports_update_conflicts_with_target", False)
    sql = 'ON CONFLICT DO UPDATE SET "value" = EXCLUDED."value"'
    monkeypatch.setattr(connection.ops, "on_conflict_suffix_sql", lambda *args: sql)
    with pytest.raises(NotSupportedError):
        CacheEntry.objects.bulk_create(
            [CacheEntry(key="a")], update_conflicts=True, unique_fields=["key"], update_fields=["value"]
        )
    upsert(a=1)
    upsert(a=2, b=3)
    assert dict(CacheEntry.objects.values_list("key", "value")) == {"a": 2, "b": 3}
