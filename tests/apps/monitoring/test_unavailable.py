"""What a visitor meets while a primary is gone: a banner where they read, and their own words where they wrote."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import router
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from apps.monitoring import views
from apps.monitoring.middleware import LedgerMiddleware
from apps.monitoring.templatetags.databases import BANNER_PLACEHOLDER
from routers import read_write_split
from routers.middleware import RoutingMiddleware

pytestmark = pytest.mark.usefixtures("own_urls")

TYPED = 'First "line" & <b>more</b>\r\n\r\n  second line'


@pytest.fixture
def visitor() -> Client:
    return Client(raise_request_exception=False)


def sent_by(page: str) -> list[tuple[str, str]]:
    """What a browser would send of the form on a page."""
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    texts = re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', page, re.S)
    return [(name, unescape(value)) for name, value in hidden + texts]


def test_refused_form_comes_back_with_what_was_typed(visitor: Client, broken: str) -> None:
    response = visitor.post("/outage?next=1", {"content": TYPED, "status": "draft", "tags": ["1", "2"], "_save": ""})
    assert response.status_code == 503
    page = response.content.decode()
    assert '<form class="form" method="post" action="">' in page, "to the same address, with its query"
    assert '<label for="text-1">Content</label>' in page
    fields = sent_by(page)
    assert fields[0][0] == "csrfmiddlewaretoken"
    assert sorted(fields[1:]) == [("_save", ""), ("content", TYPED), ("status", "draft"), ("tags", "1"), ("tags", "2")]


def test_text_that_begins_with_an_empty_line_keeps_it(visitor: Client, broken: str) -> None:
    page = visitor.post("/outage", {"content": "\r\nthe second line"}).content.decode()
    assert ("content", "\r\nthe second line") in sent_by(page)


def test_passwords_and_files_do_not_come_back(visitor: Client, broken: str) -> None:
    sent = {
        "username": "ann",
        "password": "hunter2 hunter2",
        "new_password1": "hunter3",
        "Password": "hunter4",
        "picture": SimpleUploadedFile("hunter5.txt", b"hunter6 hunter6"),
    }
    page = visitor.post("/outage", sent).content.decode()
    assert "hunter" not in page
    assert [name for name, _ in sent_by(page)] == ["csrfmiddlewaretoken", "username"]


@pytest.mark.parametrize("name", ["api_token", "card_number", "pin", "otp-code", "client_secret", "passphrase", "key"])
def test_what_is_secret_by_its_name_does_not_come_back(visitor: Client, broken: str, name: str) -> None:
    assert "hunter" not in visitor.post("/outage", {name: "hunter 2"}).content.decode()


@pytest.mark.parametrize("name", ["keyword", "author", "pinned", "decoded"])
def test_what_only_sounds_like_it_does(visitor: Client, broken: str, name: str) -> None:
    assert "hunter" in visitor.post("/outage", {name: "hunter 2"}).content.decode()


@pytest.mark.parametrize("declared", [["story"], "__ALL__"])
def test_what_the_view_says_is_sensitive_does_not_come_back(declared: Any) -> None:
    request = RequestFactory().post("/", {"story": "hunter 2"})
    vars(request)["sensitive_post_parameters"] = declared
    assert views._to_send_again(request)["texts"] == []


def test_form_that_came_back_is_accepted(broken: str) -> None:
    visitor = Client(raise_request_exception=False, enforce_csrf_checks=True)
    visitor.get("/users/login/")
    token = visitor.cookies["csrftoken"].value
    first = visitor.post("/outage", {"csrfmiddlewaretoken": token, "content": "some words"})
    again = visitor.post("/outage", dict(sent_by(first.content.decode())))
    assert (first.status_code, again.status_code) == (503, 503), "and not 403: it went as far as the first"
    assert ("content", "some words") in sent_by(again.content.decode())


def test_form_of_a_button_alone_comes_back_too(broken: str) -> None:
    visitor = Client(raise_request_exception=False, enforce_csrf_checks=True)
    visitor.get("/users/login/")
    token = visitor.cookies["csrftoken"].value
    page = visitor.post("/outage", {"csrfmiddlewaretoken": token}).content.decode()
    assert [name for name, _ in sent_by(page)] == ["csrfmiddlewaretoken"]
    assert "Send it again" in page


@pytest.mark.parametrize("method", ["get", "head", "put"])
def test_what_was_no_form_gets_none(visitor: Client, broken: str, method: str) -> None:
    response = getattr(visitor, method)("/outage")
    assert response.status_code == 503
    assert b"<form" not in response.content


def test_json_gets_no_form(visitor: Client, broken: str) -> None:
    response = visitor.post("/outage", {"content": "some words"}, content_type="application/json")
    assert response.status_code == 503
    assert b"<form" not in response.content


def test_our_own_mistake_gets_no_form(visitor: Client) -> None:
    assert b"<form" not in visitor.post("/mistake", {"content": "some words"}).content


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The aliases that are down, as the routers see it."""
    aliases: set[str] = set()
    monkeypatch.setattr(read_write_split, "is_down", aliases.__contains__)
    return aliases


def banner(*, reads: Any = None) -> str:
    """What stands in the place of the banner on a page that reads this."""

    def view(request: HttpRequest) -> HttpResponse:
        if reads:
            reads()
        return HttpResponse(f"<header>{BANNER_PLACEHOLDER}</header>")

    response: Any = RoutingMiddleware(LedgerMiddleware(view))(RequestFactory().get("/"))
    found: str = response.content.decode()
    return found.removeprefix("<header>").removesuffix("</header>")


def read_sessions() -> None:
    """As far as it is the routers' affair: no test's transaction is open, in which they would answer otherwise."""
    router.db_for_read(Session)


@pytest.mark.parametrize("demo", [True, False])
def test_page_from_a_replica_says_that_its_primary_is_gone(gone: set[str], settings: Settings, demo: bool) -> None:
    settings.DEMO = demo
    gone.add("users_db")
    text = banner(reads=read_sessions)
    assert text.startswith('<p class="banner warn" role="status">')
    assert "changes to users does not answer" in text


def test_page_says_nothing_while_the_primary_is_there_or_when_it_read_nothing_from_its_cluster(gone: set[str]) -> None:
    assert banner(reads=read_sessions) == ""
    gone |= {"users_db", "default"}
    assert banner() == ""
    assert "blog" not in banner(reads=read_sessions)
