"""How many messages wait, for how long, and which nobody takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, connections
from django.db.models import Count, Min, Q
from django.utils import timezone

from apps.outbox.models import Message
from apps.outbox.publishing import sources
from apps.outbox.registry import handlers
from routers.health import is_down

# As what a relay's connections are listed by PostgreSQL.
RELAY = "relay_outbox"
WAITING = Q(done_at=None, dead_at=None)
DEAD = Q(done_at=None, dead_at__isnull=False)
COUNTS = {
    "waiting": Count("pk", filter=WAITING),
    "oldest": Min("created_at", filter=WAITING),
    "dead": Count("pk", filter=DEAD),
}


@dataclass(frozen=True)
class Backlog:
    """What is in an outbox: how many messages wait, the age of the oldest in seconds, how many are dead letters.

    None throughout where the database does not answer.
    """

    waiting: int | None = None
    oldest: float | None = None
    dead: int | None = None


def backlog(*only: str) -> dict[str, Backlog]:
    """The backlog of these databases, by default of each that sends messages; those known to be down are not asked."""
    return {alias: _backlog(alias) for alias in only or sources()}


def backlog_by_handler(alias: str) -> dict[str, Backlog]:
    """The same for one database, by the name of the handler, where there is any. Raises the database's error."""
    unfinished = Message.objects.using(alias).filter(done_at=None).values_list("handler").order_by("handler")
    return {name: _counted(*counts) for name, *counts in unfinished.annotate(**COUNTS)}


def unhandled(names: Iterable[str]) -> list[str]:
    """Those of the names that no handler in this code has: their messages wait until one has it again."""
    return sorted(set(names) - handlers.keys())


def relays_seen_on() -> list[str]:
    """The databases to which a relay is connected, of those that can tell: PostgreSQL servers do, files do not."""
    return [alias for alias in sources() if connections[alias].vendor == "postgresql" and _is_relay_on(alias)]


def _is_relay_on(alias: str) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [RELAY])
        return bool(cursor.fetchone()[0])


def _backlog(alias: str) -> Backlog:
    if is_down(alias):
        return Backlog()
    # Three queries, each from an index: whoever asks has little time just when a lot waits, and one would read it all.
    messages = Message.objects.using(alias)
    waiting = messages.filter(WAITING)
    try:
        oldest = waiting.order_by("pk").values_list("created_at", flat=True).first()
        return _counted(waiting.count(), oldest, messages.filter(DEAD, due_at__isnull=False).count())
    except DatabaseError:
        return Backlog()


def _counted(waiting: int, oldest: datetime | None, dead: int) -> Backlog:
    age = max((timezone.now() - oldest).total_seconds(), 0) if oldest else None
    return Backlog(waiting, age, dead)
