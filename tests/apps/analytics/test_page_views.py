from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from apps.analytics import visits
from apps.analytics.middleware import PageViewMiddleware
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.analytics.recorder import recorder
from tests.factories.users import UserFactory

PAGE = "/analytics/"


def visit(request: HttpRequest, response: HttpResponse | None = None) -> int:
    """Send the request through the middleware alone. Returns how many rows it has recorded."""
    request.resolver_match = resolve(request.path_info)
    before = recorder.waiting
    PageViewMiddleware(lambda _: response or HttpResponse("page"))(request)
    return recorder.waiting - before


@pytest.mark.django_db(databases=["analytics_db"])
def test_page_view_is_recorded_with_its_path_without_the_query(client: Client) -> None:
    assert client.get(PAGE, {"days": "7", "secret": "x"}).status_code == 200
    recorder.flush()
    event = AnalyticsEvent.objects.get()
    assert (event.event_type, event.user_id, event.data) == ("page_view", None, {"path": PAGE})
    assert not UserActivity.objects.exists()


@pytest.mark.django_db(databases=["analytics_db", "users_db"])
def test_page_view_of_a_signed_in_visitor_is_also_activity(client: Client) -> None:
    user = UserFactory.create()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.get(PAGE)
    recorder.flush()
    assert AnalyticsEvent.objects.get().user_id == user.pk
    assert UserActivity.objects.values_list("user_id", "page_viewed").get() == (user.pk, PAGE)


@pytest.mark.django_db(databases=["analytics_db", "users_db"])
def test_session_key_is_nowhere_in_the_row(client: Client) -> None:
    client.force_login(UserFactory.create(), backend="django.contrib.auth.backends.ModelBackend")
    client.get(PAGE)
    recorder.flush()
    key = Session.objects.get().session_key
    row = AnalyticsEvent.objects.values().get()
    assert key not in repr(row)
    assert len(row["session_id"]) == 32
    assert set(row["session_id"]) <= set("0123456789abcdef")


@pytest.mark.django_db(databases=["analytics_db", "users_db"])
def test_one_session_is_one_visitor_and_two_are_two() -> None:
    user = UserFactory.create()
    first, second = Client(), Client()
    for client in (first, second):
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for client in (first, second, first):
        client.get(PAGE)
    recorder.flush()
    one, two, three = AnalyticsEvent.objects.order_by("id").values_list("session_id", flat=True)
    assert one == three != two


def test_visitor_without_a_session_is_known_by_address_and_browser(rf: RequestFactory) -> None:
    def identify(address: str, browser: str) -> str:
        return visits.visitor_id(rf.get(PAGE, REMOTE_ADDR=address, headers={"user-agent": browser}))

    assert identify("10.0.0.1", "a") == identify("10.0.0.1", "a")
    assert len({identify("10.0.0.1", "a"), identify("10.0.0.1", "b"), identify("10.0.0.2", "a")}) == 3
    assert "10.0.0.1" not in identify("10.0.0.1", "a")


@pytest.mark.django_db(databases=["analytics_db", "users_db"])
def test_recording_adds_no_query_to_a_signed_in_visitors_page(client: Client, settings: Any) -> None:
    client.force_login(UserFactory.create(), backend="django.contrib.auth.backends.ModelBackend")
    with_it = queries_of(client)
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "PageView" not in name]
    client.handler.load_middleware()
    assert queries_of(client) == with_it


def queries_of(client: Client) -> dict[str, int]:
    recorders = {alias: CaptureQueriesContext(connections[alias]) for alias in ("analytics_db", "users_db")}
    for queries in recorders.values():
        queries.__enter__()
    client.get(PAGE)
    for queries in recorders.values():
        queries.__exit__(None, None, None)
    return {alias: len(queries) for alias, queries in recorders.items()}


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


@pytest.mark.django_db(databases=["analytics_db"])
def test_health_and_missing_pages_are_not_recorded(client: Client) -> None:
    client.get("/healthz")
    client.get("/no/such/page/")
    assert recorder.waiting == 0


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
    assert [(record.levelname, record.alias) for record in caplog.records] == [("ERROR", "analytics_db")]


@pytest.mark.django_db(databases=["analytics_db"])
def test_ledger_says_that_the_view_was_handed_over(client: Client) -> None:
    assert "analytics_db: 1 page view handed to the recorder" in client.get(PAGE).content.decode()
