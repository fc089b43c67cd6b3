"""What is written to the cache: whole entries, and purges."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from apps.cache.keys import checked_key
from apps.cache.models import CacheEntry
from apps.cache.selectors import CHUNK, is_expired, of_user, under
from routers.transactions import atomic_for, writing_on_safe_request
from routers.upsert import bulk_upsert


def set_entry(*, key: str, value: Any, timeout: float) -> None:
    """Keep a value under a key for `timeout` seconds, in place of what was there: one statement.

    Raises ValueError for what cannot be a key, is not JSON or never expires.
    """
    set_many(values={key: value}, timeout=timeout)


@writing_on_safe_request(reason="A page that finds nothing in the cache fills it, and filling it again is harmless.")
def set_many(*, values: Mapping[str, Any], timeout: float) -> None:
    """Keep several values, all of them or none. Raises ValueError, as set_entry does, before anything is written."""
    expires_at = _expiry(timeout)
    entries = [
        CacheEntry(key=checked_key(key), value=_checked_value(key, value), expires_at=expires_at)
        for key, value in values.items()
    ]
    bulk_upsert(CacheEntry, entries, unique_fields=["key"], update_fields=["value", "expires_at", "created_at"])


def purge(
    *, keys: Iterable[str] | None = None, prefix: str = "", expired: bool = False, everything: bool = False
) -> int:
    """Delete entries and return how many: those under these keys, under a prefix, expired ones, or everything.

    Raises ValueError unless exactly one of them is asked for, so that a prefix that turned out empty deletes nothing.
    """
    if (keys is not None) + bool(prefix) + expired + everything != 1:
        raise ValueError("Say what to purge: exactly one of keys, a prefix that is not empty, expired or everything.")
    entries = CacheEntry.objects.all()
    if keys is not None:
        return _purge_keys([checked_key(key) for key in dict.fromkeys(keys)])
    if prefix:
        entries = under(entries, prefix)
    return (entries.filter(is_expired()) if expired else entries).delete()[0]


def forget_users(*, user_ids: Iterable[int]) -> int:
    """Delete what is kept of these people, and return how many entries that were."""
    with atomic_for(CacheEntry):
        return sum(of_user(user_id).delete()[0] for user_id in user_ids)


def _purge_keys(keys: list[str]) -> int:
    with atomic_for(CacheEntry):
        return sum(
            CacheEntry.objects.filter(key__in=keys[start : start + CHUNK]).delete()[0]
            for start in range(0, len(keys), CHUNK)
        )


def _expiry(timeout: float) -> datetime:
    if not timeout > 0:
        raise ValueError(f"A cache entry lives for more than 0 seconds; the timeout was {timeout}.")
    try:
        return timezone.now() + timedelta(seconds=timeout)
    except OverflowError as error:
        raise ValueError(f"A cache entry cannot live for {timeout} seconds: no calendar goes that far.") from error


def _checked_value(key: str, value: Any) -> Any:
    try:
        # NaN and the infinities are not JSON, though Python writes them.
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The value for {key!r} cannot be cached, because it is not JSON: {error}.") from error
    return value
