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


@pytest.mark.parametrize(("query", "refresh"), [("", None), ("?watch", "2")])
def test_databases_are_loaded_anew_for_whoever_watches(
    client: Client, both: Lab, query: str, refresh: str | None
) -> None:
    response = client.get(f"/databases/{query}")
    assert response.status_code == 200
    assert response.get("Refresh") == refresh


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


def test_readyz_is_503_without_one_that_they_do(client: Client, both: Lab, settings: Settings) -> None:
    settings.READINESS_APPS = ["users"]
    remove(both, "people")
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "down")


def test_readyz_is_degraded_when_only_a_replica_is_gone(client: Client, both: Lab) -> None:
    both.alias("people_replica", both.folder / "none")
    both.replicas("people", "people_replica")
    assert client.get("/readyz").json()["status"] == "degraded"


def test_readyz_is_degraded_while_a_replica_stands_in_for_a_primary_that_is_gone(
    client: Client, both: Lab, settings: Settings
) -> None:
    settings.READINESS_APPS = ["users"]
    both.alias("people_replica", both.file("people_copy", users_user=2))
    both.replicas("people", "people_replica")
    remove(both, "people")
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")


def test_readyz_is_503_before_the_first_migration(client: Client, lab: Lab, settings: Settings) -> None:
    settings.READINESS_APPS = ["users"]
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
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_answers_within_a_second_to_a_visitor_with_a_session_while_the_users_hang(
    client: Client, lab: Lab, silent_port: int, path: str, settings: Settings
) -> None:
    """The machine may be busy with something else, but never for that long."""
    settings.READINESS_APPS = ["users"]
    postgresql(lab, "people", silent_port, *USERS_APPS)
    client.cookies["sessionid"] = "somebody"

    def seconds() -> float:
        started = time.monotonic()
        response = client.get(path)
        assert response.status_code == (503 if path == "/readyz" else 200)
        return time.monotonic() - started

    taken = [seconds() for _ in range(3)]
    assert min(taken) < 1
    assert max(taken) < 2.5


@pytest.mark.usefixtures("production")
def test_readyz_tells_whoever_has_the_token_of_each_database(client: Client, both: Lab, settings: Settings) -> None:
    settings.READYZ_TOKEN = "hunter2"

    def told(authorization: str) -> bool:
        return "databases" in client.get("/readyz", headers={"authorization": authorization}).json()

    assert told("Bearer hunter2")
    assert not any(told(wrong) for wrong in ("", "hunter2", "Bearer ", "Bearer hunter", "Basic hunter2", "Bearer é"))


@pytest.mark.usefixtures("production")
def test_without_a_token_in_the_settings_no_token_is_right(client: Client, both: Lab) -> None:
    assert "databases" not in client.get("/readyz", headers={"authorization": "Bearer "}).json()


@pytest.mark.parametrize("host", ["10.0.0.7", "10.0.0.7:8000", "[fd00::7]", "elsewhere.example", "no host at all!"])
def test_health_pages_answer_under_any_host(client: Client, both: Lab, host: str) -> None:
    response = client.get("/healthz", headers={"host": host})
    assert (response.status_code, response.content) == (200, b"ok")
    response = client.get("/readyz", headers={"host": host})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_under_another_host_the_details_are_for_whoever_has_the_token(
    client: Client, both: Lab, settings: Settings
) -> None:
    settings.READYZ_TOKEN = "hunter2"
    response = client.get("/readyz", headers={"host": "10.0.0.7", "authorization": "Bearer hunter2"})
    assert set(response.json()["databases"]) == {"people", "extra"}


@pytest.mark.parametrize("path", ["/databases/", "/silent", "/healthz/", "/nowhere"])
def test_no_other_page_answers_under_another_host(client: Client, path: str) -> None:
    assert client.get(path, headers={"host": "10.0.0.7"}).status_code == 400


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
    assert "1 of them is not up." in html
    assert '<span class="pill bad">down</span>' in html
    assert "no such file" in html


def test_databases_shows_a_replica_that_nobody_reads_from(client: Client, both: Lab) -> None:
    both.alias("people_replica", both.folder / "none")
    both.replicas("people", "people_replica")
    html = client.get("/databases/").content.decode()
    assert html.count('<span class="pill warn">quarantine</span>') == 1
    assert "quarantine: it is down; no such file" in html


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
    assert b"no answer since" in response.content


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
