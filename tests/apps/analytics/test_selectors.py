import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from apps.analytics import selectors, services
from tests.factories.analytics import EventFactory, ReportFactory, noon

pytestmark = pytest.mark.django_db(databases=["analytics_db"])


def test_overview_shows_days_without_events_as_zero() -> None:
    EventFactory.create(timestamp=noon(2))
    days = selectors.overview(days=7).days
    assert [day.date for day in days] == [noon(n).date() for n in range(6, -1, -1)]
    assert [day.events for day in days] == [0, 0, 0, 0, 1, 0, 0]


def test_overview_leaves_out_what_is_older_or_in_the_future() -> None:
    EventFactory.create(timestamp=noon(7))
    EventFactory.create(timestamp=noon(-1))
    EventFactory.create(timestamp=noon(0))
    assert selectors.overview(days=7).totals["events"] == 1


def test_overview_totals_are_the_sums_of_the_days() -> None:
    EventFactory.create_batch(3, session_id="same", timestamp=noon(1))
    EventFactory.create(session_id="same", timestamp=noon(2))
    EventFactory.create(event_type="sign_up", timestamp=noon(2))
    totals = selectors.overview(days=7).totals
    assert totals == {"events": 5, "page_views": 4, "visitors": 2, "sign_ups": 1}


def test_overview_lists_types_by_frequency() -> None:
    EventFactory.create_batch(2, event_type="search")
    EventFactory.create(event_type="login")
    EventFactory.create(event_type="export")
    assert selectors.overview(days=7).by_type == [("search", 2), ("export", 1), ("login", 1)]


def test_overview_takes_visitors_from_the_reports_where_there_are_any() -> None:
    for number in range(1, 7):
        ReportFactory.create(date=noon(number).date(), visitors=10)
    EventFactory.create(timestamp=noon(3))
    EventFactory.create(timestamp=noon(0))
    assert selectors.overview(days=7).totals["visitors"] == 61


def test_overview_counts_visitors_itself_from_the_first_day_without_a_report() -> None:
    ReportFactory.create(date=noon(6).date(), visitors=10)
    EventFactory.create_batch(2, timestamp=noon(5))
    assert selectors.overview(days=7).totals["visitors"] == 12


def test_reports_and_events_agree_on_the_visitors() -> None:
    EventFactory.create_batch(2, session_id="one", timestamp=noon(1))
    EventFactory.create(session_id="", timestamp=noon(1))
    EventFactory.create(event_type="search", session_id="two", timestamp=noon(1))
    counted = selectors.overview(days=7).totals["visitors"]
    services.make_reports(days=7)
    assert selectors.overview(days=7).totals["visitors"] == counted == 1


def test_top_pages_are_the_most_viewed_first() -> None:
    for path, times in (("/a/", 1), ("/b/", 3), ("/c/", 2)):
        EventFactory.create_batch(times, data={"path": path})
    assert selectors.overview(days=7).top_pages == [("/b/", 3), ("/c/", 2), ("/a/", 1)]


def test_top_pages_are_at_most_ten() -> None:
    EventFactory.create_batch(12)
    assert len(selectors.overview(days=7).top_pages) == 10


def test_top_pages_hide_a_page_that_only_signed_in_people_saw() -> None:
    EventFactory.create_batch(3, data={"path": "/draft/"}, user_id=1)
    EventFactory.create(data={"path": "/public/"}, user_id=1)
    EventFactory.create(data={"path": "/public/"})
    assert selectors.overview(days=7).top_pages == [("/public/", 2)]


def test_top_pages_leave_out_an_event_without_a_path() -> None:
    EventFactory.create(data={})
    EventFactory.create(data={"path": "/a/"})
    assert selectors.overview(days=7).top_pages == [("/a/", 1)]


def test_top_pages_read_only_the_latest_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "LATEST_VIEWS", 2)
    EventFactory.create(data={"path": "/old/"}, timestamp=noon(3))
    EventFactory.create(data={"path": "/new/"}, timestamp=noon(1))
    EventFactory.create(data={"path": "/newer/"}, timestamp=noon(0))
    assert {path for path, _ in selectors.overview(days=7).top_pages} == {"/new/", "/newer/"}


def test_top_pages_have_no_limit_inside_in_which_mysql_refuses() -> None:
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        selectors.overview(days=7)
    (sql,) = [query["sql"] for query in queries if "OFFSET" in query["sql"]]
    assert " IN (SELECT" not in sql
    assert 'COALESCE((SELECT U0."timestamp"' in sql.replace('"U0"', "U0")


def test_events_are_counted_all_or_by_the_beginning_of_their_session() -> None:
    EventFactory.create_batch(2, session_id="demo-1")
    EventFactory.create(session_id="other")
    assert (selectors.count_events(), selectors.count_events(session_prefix="demo-")) == (3, 2)


def test_activity_counts_a_users_events_by_type_in_one_query() -> None:
    EventFactory.create_batch(2, user_id=1)
    EventFactory.create(user_id=1, event_type="search")
    EventFactory.create(user_id=1, timestamp=noon(40))
    EventFactory.create(user_id=2)
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        activity = selectors.activity_by_type(1)
    assert list(activity.items()) == [("page_view", 2), ("search", 1)]
    assert len(queries) == 1


def test_activity_of_a_user_without_any_is_empty() -> None:
    assert selectors.activity_by_type(1, days=7) == {}


def test_views_by_user_counts_page_views_only() -> None:
    EventFactory.create_batch(2, user_id=1)
    EventFactory.create(user_id=1, event_type="search")
    EventFactory.create(user_id=2, event_type="search")
    EventFactory.create(user_id=3, timestamp=noon(9))
    assert selectors.views_by_user([1, 2, 3], 7) == {1: 2}


def test_views_by_user_asks_in_chunks() -> None:
    for user_id in (1, 1500, 2500):
        EventFactory.create(user_id=user_id)
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        assert selectors.views_by_user(iter(range(1, 2501)), 7) == {1: 1, 1500: 1, 2500: 1}
    assert len(queries) == 3


def test_views_by_user_of_nobody_asks_nothing() -> None:
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        assert selectors.views_by_user([], 7) == {}
    assert not len(queries)
