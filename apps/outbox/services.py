"""What people do with messages: try dead letters again, give them up, deliver anew after a restore, tidy up."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from apps.outbox.models import Message, Receipt
from apps.outbox.publishing import sources
from apps.outbox.registry import handlers_on
from apps.outbox.selectors import DEAD

# Rows that one DELETE takes, so that none holds its locks for long.
CHUNK = 1000


@dataclass(frozen=True)
class Pruned:
    messages: int
    receipts: int


def replay(messages: QuerySet[Message]) -> int:
    """Have the dead letters among these delivered after all, with all their attempts; returns how many there are."""
    return messages.filter(DEAD).update(dead_at=None, due_at=None, attempts=0)


def discard(messages: QuerySet[Message]) -> int:
    """Give up the dead letters among these for good, so that what follows them goes on; returns how many there are.

    They are kept like delivered ones, with their error.
    """
    return messages.filter(DEAD).update(done_at=timezone.now())


def dead_letters(using: str, **fields: Any) -> QuerySet[Message]:
    """Those of one database whose fields have these values."""
    return Message.objects.using(using).filter(DEAD, **fields)


def received_since(destination: str, moment: datetime) -> dict[str, QuerySet[Message]]:
    """What this database received from that moment on, by source."""
    names = list(handlers_on(destination))
    return {
        source: Message.objects.using(source).filter(handler__in=names, done_at__gte=moment, dead_at=None)
        for source in sources()
    }


def replay_since(destination: str, moment: datetime) -> dict[str, int]:
    """Have everything that this database received from that moment on delivered once more; returns how many messages,
    by source.

    For a database that was restored to an earlier moment. What it still has, it recognises by its receipts, so rather
    too early a moment than one too late. No relay may run between the restore and this, or newer messages would
    overtake those that were lost.
    """
    return {
        source: messages.update(done_at=None, due_at=None, attempts=0)
        for source, messages in received_since(destination, moment).items()
    }


def prune(using: str, *, days: int) -> Pruned:
    """Delete what was delivered more than so many days ago. Returns how many rows were.

    Receipts stay twice as long, and never shorter than twice OUTBOX_RETENTION_DAYS, for a source may be restored; and
    each outlives its message, which may be delivered once more at any time. So where a source cannot be asked for its
    messages, no receipt is deleted and its DatabaseError is raised. Raises ValueError for less than one day.
    """
    if days < 1:
        raise ValueError(f"What was delivered is kept for at least 1 day, not for {days}: it may still be on its way.")
    now, kept = timezone.now(), max(days, settings.OUTBOX_RETENTION_DAYS)
    messages = Message.objects.using(using).filter(done_at__lt=now - timedelta(days=days))
    receipts = Receipt.objects.using(using).filter(at__lt=now - timedelta(days=2 * kept))
    return Pruned(_delete(messages), _delete_without_message(receipts))


def _delete(rows: "QuerySet[Any]") -> int:
    deleted = 0
    while found := list(rows.values_list("pk", flat=True)[:CHUNK]):
        deleted += rows.filter(pk__in=found).delete()[0]
    return deleted


def _delete_without_message(receipts: QuerySet[Receipt]) -> int:
    deleted, last = 0, UUID(int=0)
    while found := list(receipts.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        last, gone = found[-1], set(found)
        for source in sources():
            gone -= set(Message.objects.using(source).filter(uid__in=found).values_list("uid", flat=True))
        deleted += receipts.filter(pk__in=gone).delete()[0]
    return deleted
