"""The page that shows how far the deletion of an account has come."""

from typing import Any

import pytest
from django.core import signing
from django.test import Client

from apps.outbox.models import Message
from apps.outbox.registry import Handler, handlers
from apps.users import services
from apps.users.deletion import make_token
from apps.users.models import User
from apps.users.topics import DELETED
from tests.apps.users.conftest import Announced
from tests.factories.users import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db", "cache_db"])

PAGE = "/users/account/deleted/"
ON_CACHE, ON_DEFAULT = "only one on cache_db", "only one on default"


@pytest.fixture(autouse=True)
def two_handlers(announced: Announced, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of people who are gone, one on each of two databases, and nobody else's."""
    monkeypatch.delitem(handlers, "hear")
    for name, alias in ((ON_CACHE, "cache_db"), (ON_DEFAULT, "default")):
        monkeypatch.setitem(handlers, name, Handler(name, (DELETED,), print, alias))


def delete(user: User) -> int:
    user_id = user.pk
    services.delete_user(user=user)
    return user_id


def page_of(user_id: int) -> Any:
    return Client().get(PAGE, {"token": make_token(user_id)})


def states(response: Any) -> dict[str, str]:
    return {step.alias: step.state for step in response.context["steps"]}


def set_all(handler: str, **fields: object) -> None:
    Message.objects.using("users_db").filter(handler=handler).update(**fields)


NOW = "2036-01-02T03:04:05Z"


def test_owner_is_led_to_the_page_without_being_logged_in(signed_in: Client) -> None:
    response = signed_in.post("/users/delete/", {"password": PASSWORD}, follow=True)
    assert response.status_code == 200
    assert response.request["PATH_INFO"] == PAGE
    assert not response.context["user"].is_authenticated


def test_own_database_is_done_at_once_and_the_others_wait_for_their_messages(user: User) -> None:
    found = states(page_of(delete(user)))
    assert (found["users_db"], found["cache_db"], found["default"]) == ("done", "waiting", "waiting")


def test_database_that_is_read_only_keeps_what_it_has(user: User) -> None:
    response = page_of(delete(user))
    assert states(response)["legacy_db"] == "kept"
    assert "another system" in response.content.decode()


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"done_at": NOW}, "done"),
        ({"attempts": 3}, "failing"),
        ({"dead_at": NOW}, "failed"),
        ({"dead_at": NOW, "done_at": NOW}, "failed"),
    ],
    ids=["done", "failing", "dead", "discarded"],
)
def test_database_is_as_far_as_its_message(user: User, fields: dict[str, object], state: str) -> None:
    user_id = delete(user)
    set_all(ON_CACHE, **fields)
    found = states(page_of(user_id))
    assert (found["cache_db"], found["default"]) == (state, "waiting")


def test_page_reloads_itself_until_nothing_waits(user: User) -> None:
    user_id = delete(user)
    assert page_of(user_id).headers["Refresh"] == "3"
    set_all(ON_CACHE, done_at=NOW)
    assert "Refresh" in page_of(user_id).headers
    set_all(ON_DEFAULT, dead_at=NOW)
    response = page_of(user_id)
    assert "Refresh" not in response.headers
    assert "reloads itself" not in response.content.decode()


def test_page_waits_for_a_handler_that_was_renamed(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = delete(user)
    set_all(ON_CACHE, done_at=NOW)
    monkeypatch.delitem(handlers, ON_DEFAULT)
    response = page_of(user_id)
    assert set(states(response).values()) == {"waiting", "kept"}
    assert "Refresh" in response.headers


def test_messages_of_somebody_else_do_not_count(user: User) -> None:
    user_id = delete(user)
    set_all(ON_CACHE, done_at=NOW)
    set_all(ON_DEFAULT, done_at=NOW)
    delete(UserFactory.create())
    assert "Refresh" not in page_of(user_id).headers


@pytest.mark.parametrize("token", ["", "nonsense", "a\x00b", "9" * 5000])
def test_broken_link_says_so(client: Client, token: str) -> None:
    response = client.get(PAGE, {"token": token})
    assert response.status_code == 400
    assert "The link is not complete" in response.content.decode()


def test_link_that_was_signed_for_something_else_leads_nowhere(client: Client, user: User) -> None:
    assert client.get(PAGE, {"token": signing.dumps(user.pk, salt="something else")}).status_code == 400


def test_expired_link_says_so(client: Client, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 1_000_000_000.0)
        token = make_token(user.pk)
    response = client.get(PAGE, {"token": token})
    assert response.status_code == 400
    assert "it was good for 6 hours" in response.content.decode()


def test_page_is_only_shown(client: Client) -> None:
    assert client.post(PAGE).status_code == 405


def test_delete_page_says_what_becomes_of_everything(signed_in: Client) -> None:
    text = signed_in.get("/users/delete/").content.decode()
    assert "<li>Account: to be deleted</li>" in text
    assert "/users/account/data/" in text
