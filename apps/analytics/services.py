"""Writes to the analytics database. What pages have to say goes by way of an outbox; the rest is written at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import router
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from apps.analytics import visits
from apps.analytics.models import AnalyticsEvent, AnalyticsReport
from apps.analytics.recorder import outbox, recorder
from apps.analytics.selectors import PAGE_VIEW, SIGN_UP, VISITORS, UTCDay, batched, events_of, last_days
from apps.monitoring import ledger
from routers.health import is_down
from routers.upsert import bulk_upsert


def record_event(
    *, event_type: str, user_id: int | None = None, session_id: str = "", data: dict[str, Any] | None = None
) -> bool:
    """Record that something has happened now; returns whether it is kept. It comes to the analytics database a little
    later, and waits on this machine while that is down.

    Inside a transaction on another database, call it in on_commit(). Raises ValueError for data that is not JSON.
    """
    event = {"event_type": event_type, "user_id": user_id, "session_id": session_id, "data": data or {}}
    return recorder.record(event | {"timestamp": timezone.now().isoformat()})


def record_page_view(request: HttpRequest, response: HttpResponse) -> None:
    """Record that a page was seen, if it was one. A signed-in visitor's activity follows from that."""
    if not visits.is_page_view(request, response):
        return
    is_kept = record_event(
        event_type=PAGE_VIEW,
        user_id=visits.signed_in_user_id(request),
        session_id=visits.visitor_id(request),
        data={"path": visits.page_path(request)},
    )
    _note_page_view(is_kept=is_kept)


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


def _note_page_view(*, is_kept: bool) -> None:
    destination = router.db_for_write(AnalyticsEvent)
    if not is_kept:
        ledger.note(f"{outbox()} could not be written: 1 page view is lost")
    elif is_down(destination):
        ledger.note(f"{outbox()}: 1 page view put into the outbox, where it waits for {destination}, which is down")
    else:
        ledger.note(f"{outbox()}: 1 page view put into the outbox, for {destination}")
