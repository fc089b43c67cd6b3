"""People as entries of the cache: whoever has changed since the last time, in bulk. (The tutorials' sync_user_data.)

How far a pass has come is one more entry, written with those of the batch that it stands for, all of them or none: a
run that dies is continued by the next, and whoever empties the cache has it begin anew.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apps.cache import selectors, services
from apps.cache.keys import user_key
from apps.users.models import User
from routers.relations import chunks
from routers.scopes import using_primary

BOOKMARK = "users:sync_user_data"
BATCH = 500
# An entry is written anew long before it expires, as now and then a pass takes everybody.
LIFETIME, FULL_EVERY = timedelta(days=30), timedelta(days=7)
# `updated_at` is not the order of commits: it is taken from some machine's clock, before its transaction ends. So a
# pass begins a little before the one before it began.
OVERLAP = timedelta(seconds=10)
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Bookmark:
    """A pass that began at `began` has come to the person `last_id`, who changed at `changed`."""

    began: datetime
    full_began: datetime
    changed: datetime = BEGINNING
    last_id: int = 0
    is_full: bool = True
    is_over: bool = False

    def dump(self) -> dict[str, Any]:
        fields = asdict(self).items()
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields}

    @classmethod
    def load(cls, value: Any) -> "Bookmark":
        fields: dict[str, Any] = {
            name: datetime.fromisoformat(each) if isinstance(each, str) else each for name, each in value.items()
        }
        return cls(**fields)


@dataclass
class Synced:
    """How many entries were written and forgotten. `since` is None for a pass that takes everybody."""

    since: datetime | None
    is_continued: bool
    written: int = 0
    forgotten: int = 0


def sync_user_data(
    *, full: bool = False, batch_size: int = BATCH, advance: Callable[[int], object] = lambda number: None
) -> Synced:
    """Bring the entries of those who have changed since the last pass up to date; continues one that was not finished.

    `full` takes everybody, which happens every FULL_EVERY anyway, and forgets who is gone. Otherwise that is for the
    message of their deletion. `advance` is called with the size of each batch that has been written.
    """
    bookmark, is_continued = _begin(full=full)
    synced = Synced(None if bookmark.is_full else bookmark.changed, is_continued)
    while people := _changed_after(bookmark, batch_size):
        bookmark = replace(bookmark, changed=people[-1].updated_at, last_id=people[-1].pk)
        _write({user_key(user.pk): user.public_data for user in people}, bookmark)
        synced.written += len(people)
        # The message of a deletion may have been delivered between reading a person and writing the entry.
        synced.forgotten += _forget_gone([user.pk for user in people])
        advance(len(people))
    if bookmark.is_full:
        synced.forgotten += sum(_forget_gone(user_ids) for user_ids in selectors.user_ids_kept())
    _write({}, replace(bookmark, is_over=True))
    return synced


def _begin(*, full: bool) -> tuple[Bookmark, bool]:
    now = timezone.now()
    entry = None if full else selectors.get_entry(BOOKMARK)
    last = Bookmark.load(entry.value) if entry else None
    if last and not last.is_over:
        return last, True
    if last is None or last.full_began < now - FULL_EVERY:
        return Bookmark(began=now, full_began=now), False
    return Bookmark(now, last.full_began, changed=last.began - OVERLAP, is_full=False), False


def _changed_after(bookmark: Bookmark, number: int) -> list[User]:
    # The first condition says nothing new, but is one that an index serves.
    later = Q(updated_at__gt=bookmark.changed) | Q(pk__gt=bookmark.last_id)
    with using_primary():
        people = User.objects.filter(later, updated_at__gte=bookmark.changed).order_by("updated_at", "pk")
        return list(people[:number])


def _write(entries: dict[str, Any], bookmark: Bookmark) -> None:
    services.set_many(values=entries | {BOOKMARK: bookmark.dump()}, timeout=LIFETIME.total_seconds())


def _forget_gone(user_ids: Collection[int]) -> int:
    gone = set(user_ids)
    with using_primary():
        for chunk in chunks(user_ids, User.objects.db):
            gone.difference_update(User.objects.filter(pk__in=chunk).values_list("pk", flat=True))
    return services.forget_users(user_ids=gone)
