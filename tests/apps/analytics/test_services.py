from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext

from apps.analytics import services
from apps.analytics.models import AnalyticsEvent, AnalyticsReport
from tests.factories.analytics import EventFactory, ReportFactory, noon

pytestmark = pytest.mark.django_db(databases=["analytics_db"])


def test_bulk_record_writes_every_event_in_batches() -> None:
    events = ({"event_type": "test", "data": {"number": number}} for number in range(25))
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        assert services.bulk_record(events, batch_size=10) == 25
    assert len([query for query in queries if query["sql"].startswith("INSERT")]) == 3
    assert AnalyticsEvent.objects.count() == 25


def test_bulk_record_takes_one_batch_at_a_time_from_its_source() -> None:
    taken_at: list[tuple[int, int]] = []

    def source() -> Iterator[dict[str, Any]]:
        for number in range(6):
            taken_at.append((number, AnalyticsEvent.objects.count()))
            yield {"event_type": "test"}

    services.bulk_record(source(), batch_size=2)
    assert taken_at == [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4)]


def test_bulk_record_keeps_the_time_it_is_given() -> None:
    services.bulk_record([{"event_type": "test", "timestamp": noon(50)}])
    assert AnalyticsEvent.objects.get().timestamp == noon(50)


def test_report_counts_a_finished_day() -> None:
    EventFactory.create_batch(2, session_id="one", timestamp=noon(1))
    EventFactory.create(session_id="two", timestamp=noon(1))
    EventFactory.create(event_type="sign_up", session_id="three", timestamp=noon(1))
    EventFactory.create(event_type="search", timestamp=noon(1))
    assert services.make_reports(days=1) == 1
    report = AnalyticsReport.objects.get()
    assert report.date == noon(1).date()
    assert (report.page_views, report.visitors, report.sign_ups) == (3, 2, 1)


def test_report_counts_days_of_utc() -> None:
    start = noon(1).replace(hour=0)
    for moment in (start - timedelta(microseconds=1), start, start + timedelta(days=1, microseconds=-1)):
        EventFactory.create(timestamp=moment)
    services.make_reports(days=1)
    assert AnalyticsReport.objects.get().page_views == 2


def test_today_gets_no_report() -> None:
    EventFactory.create()
    services.make_reports(days=3)
    assert noon(0).date() not in AnalyticsReport.objects.values_list("date", flat=True)


def test_day_without_events_gets_a_report_of_zeros() -> None:
    services.make_reports(days=3)
    assert [(r.date, r.page_views) for r in AnalyticsReport.objects.all()] == [(noon(n).date(), 0) for n in (1, 2, 3)]


def test_report_is_counted_anew_and_keeps_its_date_of_creation() -> None:
    before = ReportFactory.create(date=noon(1).date(), page_views=99)
    EventFactory.create(timestamp=noon(1))
    services.make_reports(days=1)
    after = AnalyticsReport.objects.get()
    assert (after.pk, after.page_views, after.created_at) == (before.pk, 1, before.created_at)


def test_reports_take_one_query_over_the_events_and_one_upsert() -> None:
    EventFactory.create_batch(3, timestamp=noon(2))
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        services.make_reports(days=90)
    verbs = [query["sql"].split()[0] for query in queries]
    assert [verb for verb in verbs if verb in ("SELECT", "INSERT", "UPDATE", "DELETE")] == ["SELECT", "INSERT"]


def test_make_reports_command_says_how_many() -> None:
    out = StringIO()
    call_command("make_reports", days=4, stdout=out)
    assert "4 days" in out.getvalue()
    assert AnalyticsReport.objects.count() == 4


@pytest.mark.parametrize("days", [0, -1, 10**9])
def test_make_reports_command_refuses_a_number_that_is_none(days: int) -> None:
    with pytest.raises(CommandError):
        call_command("make_reports", days=days)
