"""What is read of the cache. An entry is alive until the moment it expires, and then as good as gone."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce, Left, Length
from django.utils import timezone

from apps.cache.keys import USERS, checked_key, user_key
from apps.cache.models import CacheEntry

# SQLite takes a limited number of parameters in one statement.
CHUNK = 500
# What the staff page can filter by.
LIVE, EXPIRED = "live", "expired"


def get_entry(key: str) -> CacheEntry | None:
    """The live entry under a key, None where there is none. A hit is an entry, whatever its value: None is one too.

    Raises ValueError for what cannot be a key.
    """
    return CacheEntry.objects.filter(is_live(), key=checked_key(key)).first()


def get_many(keys: Iterable[str]) -> dict[str, CacheEntry]:
    """The live entries among these keys, by key: one query for each CHUNK of them. Raises ValueError."""
    asked = [checked_key(key) for key in dict.fromkeys(keys)]
    found: dict[str, CacheEntry] = {}
    for start in range(0, len(asked), CHUNK):
        entries = CacheEntry.objects.filter(is_live(), key__in=asked[start : start + CHUNK])
        found |= {entry.key: entry for entry in entries}
    return found


def entries_held(user_id: int) -> Iterable[Mapping[str, Any]]:
    """What is kept of a person, live or expired."""
    return of_user(user_id).values("key", "value", "created_at", "expires_at")


def of_user(user_id: int) -> QuerySet[CacheEntry]:
    """The entries that are about a person: under the person's key, and under those that begin with it and a colon."""
    key = user_key(user_id)
    return CacheEntry.objects.filter(key=key) | under(CacheEntry.objects.all(), f"{key}:")


def user_ids_kept() -> Iterator[set[int]]:
    """The ids of those of whom something is kept, some at a time."""
    left = keys = under(CacheEntry.objects.all(), USERS).order_by("key").values_list("key", flat=True)
    while found := list(left[:CHUNK]):
        yield {int(user_id) for key in found if (user_id := key.split(":")[1]).isdecimal()}
        left = keys.filter(key__gt=found[-1])


def is_live() -> Q:
    return Q(expires_at__gt=timezone.now())


def is_expired() -> Q:
    return Q(expires_at__lte=timezone.now())


def under(entries: QuerySet[CacheEntry], prefix: str) -> QuerySet[CacheEntry]:
    """Those whose key begins with the prefix, which is not empty."""
    # Not key__startswith: on SQLite LIKE takes "A:" for "a:", and somebody else's entries would be purged.
    return entries.alias(head=Left("key", len(prefix))).filter(head=prefix)


def list_entries(*, prefix: str = "", state: str = "") -> QuerySet[CacheEntry]:
    """Entries by key without their values, each with the `size` of its value in characters of JSON.

    `state` is LIVE, EXPIRED or empty for both.
    """
    entries = under(CacheEntry.objects.all(), prefix) if prefix else CacheEntry.objects.all()
    conditions = {LIVE: is_live, EXPIRED: is_expired}
    if state:
        entries = entries.filter(conditions[state]())
    size = Coalesce(Length(Cast("value", TextField())), Value(len("null")))
    return entries.defer("value").annotate(size=size).order_by("key")
