"""/databases/, /healthz and /readyz, to whom they show what."""

import re
import socket
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from pytest_django import Settings

from apps.monitoring.views import readiness
from tests.apps.monitoring.conftest import Lab
from tests.apps.monitoring.test_probes import postgresql

pytestmark = pytest.mark.usefixtures("own_urls")
USERS_APPS = ("users", "auth", "contenttypes", "admin", "sessions", "axes")


@pytest.fixture
def production(settings: Settings) -> None:
    settings.DEMO = settings.DEBUG = False


@pytest.fixture
def both(lab: Lab) -> Lab:
    """A cluster of the users, which the site cannot do without, and one that it can."""
    lab.cluster("people", lab.file("people", users_user=2), *USERS_APPS)
    lab.cluster("extra", lab.file("extra", item=3), "cache")
    return lab


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def remove(lab: Lab, name: str) -> None:
    (lab.folder / f"{name}.sqlite3").unlink()


def test_healthz_asks_no_database(client: Client) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.content, response["Content-Type"]) == (200, b"ok", "text/plain")
    assert "Server-Timing" not in response
    assert "no-store" in response["Cache-Control"]


def test_readyz_is_ok_with_each_alias(client: Client, both: Lab) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert {alias: each["state"] for alias, each in response.json()["databases"].items()} == {
        "people": "up",
        "extra": "up",
    }


def test_readyz_is_degraded_but_200_without_a_database_that_the_main_pages_do_not_need(
    client: Client, both: Lab
) -> None:
    remove(both, "extra")
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["databases"]["extra"]["remark"] == "no such file"


def test_readyz_is_503_without_one_that_they_do(client: Client, both: Lab) -> None:
    remove(both, "people")
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "down")


def test_readyz_is_degraded_when_only_a_replica_is_gone(client: Client, both: Lab) -> None:
    both.alias("people_replica", both.folder / "none")
    both.replicas("people", "people_replica")
    assert client.get("/readyz").json()["status"] == "degraded"


def test_readyz_is_503_before_the_first_migration(client: Client, lab: Lab) -> None:
    (lab.folder / "people.sqlite3").touch()
    lab.cluster("people", lab.folder / "people.sqlite3", "users")
    assert client.get("/readyz").status_code == 503


def test_readiness_ignores_apps_that_have_no_cluster(both: Lab, settings: Settings) -> None:
    settings.READINESS_APPS = ["not_installed"]
    assert readiness([]) == "ok"


@pytest.mark.usefixtures("production")
def test_in_production_readyz_is_one_word(client: Client, both: Lab) -> None:
    assert client.get("/readyz", secure=True).json() == {"status": "ok"}
    remove(both, "extra")
    assert client.get("/readyz", secure=True).json() == {"status": "degraded"}


@pytest.mark.usefixtures("production")
def test_readyz_answers_in_time_to_a_visitor_with_a_session_while_the_users_hang(
    client: Client, lab: Lab, silent_port: int
) -> None:
    postgresql(lab, "people", silent_port, *USERS_APPS)
    client.cookies["sessionid"] = "somebody"
    started = time.monotonic()
    response = client.get("/readyz")
    assert time.monotonic() - started < 1.5
    assert (response.status_code, response.json()) == (503, {"status": "down"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/databases/"])
def test_only_reading_is_possible(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_databases_shows_each_alias_and_table(client: Client, both: Lab) -> None:
    html = client.get("/databases/").content.decode()
    assert "All of them are up." in html
    assert 'role="img"' in html
    assert "users_user" in html
    assert html.count('<span class="pill ok">up</span>') == 2


def test_databases_groups_the_digits_of_rows(client: Client, lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop", item=1200))
    assert '<td class="num">1,200</td>' in client.get("/databases/").content.decode()


def test_databases_shows_one_that_is_down_with_its_reason(client: Client, both: Lab) -> None:
    remove(both, "extra")
    response = client.get("/databases/")
    html = response.content.decode()
    assert response.status_code == 200
    assert "1 of them is down." in html
    assert '<span class="pill bad">down</span>' in html
    assert "no such file" in html


def test_databases_renders_for_a_visitor_with_a_session_while_the_users_are_gone(client: Client, both: Lab) -> None:
    remove(both, "people")
    client.cookies["sessionid"] = "somebody"
    assert client.get("/databases/").status_code == 200
    assert not (both.folder / "people.sqlite3").exists()


def test_databases_answers_within_its_deadline_while_one_hangs(client: Client, both: Lab, silent_port: int) -> None:
    postgresql(both, "slow", silent_port)
    started = time.monotonic()
    response = client.get("/databases/")
    assert time.monotonic() - started < 2.5
    assert b"no answer within 2.0 s" in response.content


@pytest.mark.usefixtures("production")
def test_in_production_an_anonymous_visitor_is_asked_to_log_in(client: Client) -> None:
    response = client.get("/databases/")
    assert (response.status_code, response["Location"]) == (302, "/users/login/?next=/databases/")


@pytest.mark.django_db(databases=["users_db"])
@pytest.mark.usefixtures("production")
def test_in_production_only_staff_see_databases_and_readyz_details(client: Client) -> None:
    user = get_user_model().objects.create_user("ann", "ann@example.org", "pw")
    client.force_login(user)
    assert client.get("/databases/").status_code == 403
    assert set(client.get("/readyz").json()) == {"status"}
    user.is_staff = True
    user.save()
    assert client.get("/databases/").status_code == 200
    assert set(client.get("/readyz").json()) == {"status", "databases"}


@pytest.mark.django_db(databases=[])
def test_form_without_a_token_gets_a_page_of_ours_that_asks_no_database() -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies["sessionid"] = "x" * 32
    response = client.post("/users/login/", {"username": "ann", "password": "pw"})
    text = response.content.decode()
    assert response.status_code == 403
    assert "The form was not accepted" in text
    assert not re.search("<style|<script| style=", text)
    assert {template.name for template in response.templates} == {"403_csrf.html", "_bare.html"}
