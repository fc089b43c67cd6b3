import re
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, modify_settings
from django.urls import resolve

from apps.analytics import services, visits
from apps.analytics.middleware import PageViewMiddleware
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.analytics.recorder import Recorder
from apps.outbox.models import Message
from tests.apps.analytics.conftest import broken, deliver
from tests.factories.users import UserFactory

PAGE = "/analytics/"
pytestmark = pytest.mark.django_db(databases=["analytics_db", "users_db", "cache_db"])


def visit(request: HttpRequest, response: HttpResponse | None = None) -> int:
    """Send the request through the middleware alone. Returns how many page views it has recorded."""
    request.resolver_match = resolve(request.path_info)
    PageViewMiddleware(lambda _: response or HttpResponse("page"))(request)
    return recorded()


def recorded() -> int:
    return Message.objects.using("cache_db").count()


def test_page_view_is_recorded_with_its_path_without_the_query(visitor: Client) -> None:
    assert visitor.get(PAGE, {"days": "7", "secret": "x"}).status_code == 200
    deliver()
    event = AnalyticsEvent.objects.get()
    assert (event.event_type, event.user_id, event.data) == ("page_view", None, {"path": PAGE})
    assert not UserActivity.objects.exists()


def test_page_view_of_a_signed_in_visitor_is_also_activity(visitor: Client) -> None:
    user = UserFactory.create()
    visitor.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    visitor.get(PAGE)
    deliver()
    assert AnalyticsEvent.objects.get().user_id == user.pk
    assert UserActivity.objects.values_list("user_id", "page_viewed").get() == (user.pk, PAGE)


def test_session_key_is_nowhere_in_the_row(visitor: Client) -> None:
    visitor.force_login(UserFactory.create(), backend="django.contrib.auth.backends.ModelBackend")
    visitor.get(PAGE)
    deliver()
    key = Session.objects.get().session_key
    row = AnalyticsEvent.objects.values().get()
    assert key not in repr(row)
    assert len(row["session_id"]) == 32
    assert set(row["session_id"]) <= set("0123456789abcdef")


def test_one_session_is_one_visitor_and_two_are_two(visitor: Client) -> None:
    user = UserFactory.create()
    first, second = visitor, Client()
    for client in (first, second):
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for client in (first, second, first):
        client.get(PAGE)
    deliver()
    one, two, three = AnalyticsEvent.objects.order_by("timestamp").values_list("session_id", flat=True)
    assert one == three != two


def test_visitor_without_a_session_is_known_by_address_and_browser(rf: RequestFactory) -> None:
    def identify(address: str, browser: str) -> str:
        return visits.visitor_id(rf.get(PAGE, REMOTE_ADDR=address, headers={"user-agent": browser}))

    assert identify("10.0.0.1", "a") == identify("10.0.0.1", "a")
    assert len({identify("10.0.0.1", "a"), identify("10.0.0.1", "b"), identify("10.0.0.2", "a")}) == 3
    assert "10.0.0.1" not in identify("10.0.0.1", "a")


def test_recording_costs_a_signed_in_visitors_page_one_insert_and_no_question(visitor: Client) -> None:
    visitor.force_login(UserFactory.create(), backend="django.contrib.auth.backends.ModelBackend")
    recording = statements(visitor)
    # Inserts come in a transaction of their own.
    assert [sql.split()[0] for sql in recording.pop("cache_db")] == ["SAVEPOINT", "INSERT", "RELEASE"]
    with modify_settings(MIDDLEWARE={"remove": "apps.analytics.middleware.PageViewMiddleware"}):
        visitor.handler.load_middleware()
        assert statements(visitor) == recording | {"cache_db": []}


def statements(visitor: Client) -> dict[str, list[str]]:
    """What each database is sent for a page, without its values."""
    with ExitStack() as stack:
        captured = {
            alias: stack.enter_context(CaptureQueriesContext(connections[alias]))
            for alias in ("analytics_db", "users_db", "cache_db")
        }
        visitor.get(PAGE)
    return {alias: [re.sub(r"'[^']*'", "…", query["sql"]) for query in queries] for alias, queries in captured.items()}


@pytest.mark.django_db(databases=["cache_db"])
def test_page_that_asks_no_database_asks_none_with_a_session_cookie_either(rf: RequestFactory) -> None:
    """pytest-django fails a query here; the visitor stays unknown."""
    from django.contrib.auth.middleware import AuthenticationMiddleware
    from django.contrib.sessions.middleware import SessionMiddleware

    request = rf.get(PAGE)
    request.COOKIES["sessionid"] = "a" * 32
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    assert visit(request) == 1
    assert not request.session.accessed


@pytest.mark.parametrize(
    ("method", "headers"),
    [("head", {}), ("post", {}), ("get", {"sec-purpose": "prefetch"}), ("get", {"sec-purpose": "prefetch;prerender"})],
)
def test_request_that_shows_nobody_a_page_is_not_recorded(
    method: str, headers: dict[str, str], rf: RequestFactory
) -> None:
    assert visit(getattr(rf, method)(PAGE, headers=headers)) == 0


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(status=302, headers={"Location": "/"}),
        HttpResponse("missing", status=404),
        HttpResponse("broken", status=500),
        HttpResponse(status=304),
        HttpResponse("a,b", content_type="text/csv"),
        HttpResponse("<feed/>", content_type="application/atom+xml"),
        HttpResponse("ok", content_type="text/plain"),
    ],
    ids=lambda response: f"{response.status_code} {response.headers.get('Content-Type')}",
)
def test_response_that_is_no_page_is_not_recorded(response: HttpResponse, rf: RequestFactory) -> None:
    assert visit(rf.get(PAGE), response) == 0


def test_admin_is_not_recorded(rf: RequestFactory) -> None:
    assert visit(rf.get("/admin/login/")) == 0


def test_health_and_missing_pages_are_not_recorded(visitor: Client) -> None:
    visitor.get("/healthz")
    visitor.get("/no/such/page/")
    assert recorded() == 0


def test_secret_in_the_path_is_not_recorded(rf: RequestFactory) -> None:
    request = rf.get("/users/password/reset/MQ/the-secret-token/")
    request.resolver_match = resolve(request.path)
    assert "the-secret-token" not in visits.page_path(request)
    assert "MQ" not in visits.page_path(request)


def test_long_path_is_cut_to_what_the_database_holds(rf: RequestFactory) -> None:
    request = rf.get(f"/users/{'a' * 500}/")
    request.resolver_match = resolve(request.path)
    assert len(visits.page_path(request)) == 200


def test_failure_to_record_is_logged_and_the_page_is_served(rf: RequestFactory, caplog: Any) -> None:
    request = rf.get(PAGE)
    request.resolver_match = resolve(PAGE)
    request._cached_user = object()  # type: ignore[attr-defined]  # has no primary key
    response = PageViewMiddleware(lambda _: HttpResponse("page"))(request)
    assert response.content == b"page"
    assert [(record.levelname, record.alias) for record in caplog.records] == [("ERROR", "cache_db")]


def test_ledger_shows_the_statement_and_says_what_it_is(visitor: Client) -> None:
    page = visitor.get(PAGE)
    assert "cache_db: 1 page view put into the outbox, for analytics_db" in page.content.decode()
    assert "INSERT INTO &quot;outbox_message&quot;" in page.content.decode()
    assert "db-cache_db" in page["Server-Timing"]


def test_ledger_says_that_the_view_waits_where_analytics_is_down(
    visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "is_down", lambda alias: alias == "analytics_db")
    assert "put into the outbox, where it waits for analytics_db" in visitor.get("/users/login/").content.decode()


def test_page_is_served_and_says_so_where_its_view_is_lost(visitor: Client, recorder: Recorder) -> None:
    with broken("cache_db"):
        page = visitor.get(PAGE)
    assert page.status_code == 200
    assert "cache_db could not be written: 1 page view is lost" in page.content.decode()
    assert recorder.lost == 1
