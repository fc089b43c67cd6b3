"""Writes to the analytics database. What a page has to say goes through the recorder; the rest is written at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import router
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse

from apps.analytics import visits
from apps.analytics.models import AnalyticsEvent, AnalyticsReport, UserActivity
from apps.analytics.recorder import recorder
from apps.analytics.selectors import PAGE_VIEW, SIGN_UP, VISITORS, UTCDay, batched, events_of, last_days
from apps.monitoring import ledger
from routers.upsert import bulk_upsert


def record_event(
    *, event_type: str, user_id: int | None = None, session_id: str = "", data: dict[str, Any] | None = None
) -> None:
    """Record that something has happened now. Returns at once, whatever the state of the database."""
    recorder.record(AnalyticsEvent(event_type=event_type, user_id=user_id, session_id=session_id, data=data or {}))


def record_page_view(request: HttpRequest, response: HttpResponse) -> None:
    """Record that a page was seen, if it was one, and the signed-in visitor's activity. Returns at once."""
    if not visits.is_page_view(request, response):
        return
    path, user_id = visits.page_path(request), visits.signed_in_user_id(request)
    record_event(event_type=PAGE_VIEW, user_id=user_id, session_id=visits.visitor_id(request), data={"path": path})
    if user_id:
        recorder.record(UserActivity(user_id=user_id, page_viewed=path))
    _note_page_view()


def bulk_record(events: Iterable[Mapping[str, Any]], *, batch_size: int = 1_000) -> int:
    """Write events, given by their fields, one batch in memory and in a transaction at a time. Returns how many."""
    written = 0
    for batch in batched(events, batch_size):
        AnalyticsEvent.objects.bulk_create([AnalyticsEvent(**fields) for fields in batch])
        written += len(batch)
    return written


def make_reports(*, days: int) -> int:
    """Count the last `days` finished days anew, one report each, also for a day without events. Returns how many."""
    finished = last_days(days + 1)[:-1]
    if not finished:
        return 0
    figures = (
        events_of(finished)
        .values(date=UTCDay("timestamp"))
        .annotate(
            page_views=Count("pk", filter=Q(event_type=PAGE_VIEW)),
            visitors=VISITORS,
            sign_ups=Count("pk", filter=Q(event_type=SIGN_UP)),
        )
    )
    found = {row["date"]: row for row in figures}
    reports = [AnalyticsReport(**found.get(day, {"date": day})) for day in finished]
    bulk_upsert(AnalyticsReport, reports, unique_fields=["date"], update_fields=["page_views", "visitors", "sign_ups"])
    return len(reports)


def _note_page_view() -> None:
    alias = router.db_for_write(AnalyticsEvent)
    if recorder.in_outage:
        ledger.note(f"{alias} does not answer: {recorder.waiting} events wait in this process")
    else:
        ledger.note(f"{alias}: 1 page view handed to the recorder")
