"""Reads of the analytics database. A day is a day of UTC."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, DateField, Func, Q, QuerySet, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent, AnalyticsReport, UserActivity
from apps.users.personal_data import by_key

T = TypeVar("T")

PAGE_VIEW = "page_view"
SIGN_UP = "sign_up"
TOP_PAGES = 10
# To group by a path inside JSON, each row has to be read: this many take some 0.1 s, however many there are.
LATEST_VIEWS = 50_000
VISITORS = Count("session_id", distinct=True, filter=Q(event_type=PAGE_VIEW) & ~Q(session_id=""))


class UTCDay(Func):
    """The day of a timestamp. TruncDate is right too, but on SQLite it calls Python for each row."""

    function = "DATE"
    output_field = DateField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="SUBSTR", template="%(function)s(%(expressions)s, 1, 10)")


@dataclass(frozen=True, kw_only=True)
class Day:
    date: date
    events: int
    page_views: int
    visitors: int
    sign_ups: int


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The figures of a number of days: by day, by type of event, and the pages that were seen most."""

    days: list[Day]
    by_type: list[tuple[str, int]]
    top_pages: list[tuple[str, int]]

    @property
    def totals(self) -> dict[str, int]:
        return {
            name: sum(getattr(day, name) for day in self.days)
            for name in ("events", "page_views", "visitors", "sign_ups")
        }


def overview(*, days: int) -> Overview:
    """The figures of the last `days` days, today included, in four queries."""
    dates = last_days(days)
    visitors = _visitors_by_day(dates)
    by_type: dict[str, int] = {}
    by_day: dict[date, dict[str, int]] = {day: {} for day in dates}
    for event_type, day, number in _counts(dates):
        by_type[event_type] = by_type.get(event_type, 0) + number
        by_day[day][event_type] = number
    return Overview(
        days=[_day(day, counts, visitors.get(day, 0)) for day, counts in by_day.items()],
        by_type=sorted(by_type.items(), key=lambda item: (-item[1], item[0])),
        top_pages=list(_top_pages(dates)),
    )


def activity_by_type(user_id: int, days: int = 30) -> dict[str, int]:
    """How many events of each type a user has caused in the last `days` days, the most frequent first. One query."""
    return dict(
        events_of(last_days(days))
        .filter(user_id=user_id)
        .values_list("event_type")
        .annotate(number=Count("pk"))
        .order_by("-number", "event_type")
    )


def views_by_user(user_ids: Iterable[int], days: int) -> dict[int, int]:
    """How many pages each of these users has viewed in the last `days` days; users without any are left out.

    Asks in chunks, one query each: a list of ids that grows with the site has no place in one statement.
    """
    events = events_of(last_days(days))
    # Three parameters are not ids.
    size = min(1_000, connections[events.db].features.max_query_params or 1_000) - 3
    # In WHERE, the type would tempt SQLite away from the index by user.
    number = Count("pk", filter=Q(event_type=PAGE_VIEW))
    views: dict[int, int] = {}
    for chunk in batched(dict.fromkeys(user_ids), size):
        of_users = events.filter(user_id__in=chunk).values_list("user_id")
        views.update(of_users.annotate(number=number).filter(number__gt=0))
    return views


def count_events(*, session_prefix: str = "") -> int:
    """How many events there are, of sessions whose id begins so."""
    events = AnalyticsEvent.objects.all()
    return (events.filter(session_id__startswith=session_prefix) if session_prefix else events).count()


def count_reports() -> int:
    return AnalyticsReport.objects.count()


def events_held(user_id: int) -> Iterator[Mapping[str, Any]]:
    """The events that a person caused, as far as they are known to be theirs."""
    return by_key(AnalyticsEvent.objects.filter(user_id=user_id), "event_type", "timestamp", "data")


def activity_held(user_id: int) -> Iterator[Mapping[str, Any]]:
    """The pages that a person has viewed."""
    return by_key(UserActivity.objects.filter(user_id=user_id), "page_viewed", "timestamp")


def last_days(number: int) -> list[date]:
    """The last so many days, the oldest first and today at the end."""
    today = timezone.now().astimezone(UTC).date()
    return [today - timedelta(days=age) for age in reversed(range(number))]


def events_of(dates: Sequence[date], *, since: Subquery | None = None) -> QuerySet[AnalyticsEvent]:
    """The events from the first to the last of these days, in no order; `since` begins later, unless it is NULL."""
    start, end = (datetime.combine(day, time.min, UTC) for day in (dates[0], dates[-1] + timedelta(days=1)))
    # One lower bound and not two: of two, SQLite looks up the first in the index and tries the other on each row.
    lower = Coalesce(since, start) if since else start
    return AnalyticsEvent.objects.filter(timestamp__gte=lower, timestamp__lt=end).order_by()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items. (itertools has it from Python 3.12.)"""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _counts(dates: Sequence[date]) -> QuerySet[AnalyticsEvent, tuple[str, date, int]]:
    return events_of(dates).values_list("event_type", UTCDay("timestamp")).annotate(Count("pk"))


def _day(day: date, counts: dict[str, int], visitors: int) -> Day:
    return Day(
        date=day,
        events=sum(counts.values()),
        page_views=counts.get(PAGE_VIEW, 0),
        visitors=visitors,
        sign_ups=counts.get(SIGN_UP, 0),
    )


def _visitors_by_day(dates: Sequence[date]) -> dict[date, int]:
    """From the reports, and from the events since the first day that has none: to tell visitors apart is slow."""
    reports = AnalyticsReport.objects.filter(date__gte=dates[0], date__lte=dates[-1]).order_by()
    visitors = dict(reports.values_list("date", "visitors"))
    unreported = [day for day in dates if day not in visitors]
    if unreported:
        events = events_of([unreported[0], dates[-1]]).filter(event_type=PAGE_VIEW)
        visitors.update(events.values_list(UTCDay("timestamp")).annotate(number=VISITORS))
    return visitors


def _top_pages(dates: Sequence[date]) -> QuerySet[AnalyticsEvent, tuple[str, int]]:
    """Only pages that somebody saw without signing in: the others are nobody else's business."""
    views = events_of(dates).filter(event_type=PAGE_VIEW)
    # MySQL has no LIMIT inside IN (…), but where a single value is wanted: here the time of the oldest that counts.
    oldest = views.order_by("-timestamp").values("timestamp")[LATEST_VIEWS - 1 : LATEST_VIEWS]
    return (
        events_of(dates, since=Subquery(oldest))
        .annotate(path=KT("data__path"))
        .filter(event_type=PAGE_VIEW, path__isnull=False)
        .values_list("path")
        .annotate(views=Count("pk"))
        .filter(~Q(views=Count("user_id")))
        .order_by("-views")[:TOP_PAGES]
    )
