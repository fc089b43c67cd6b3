"""The download of everything that is held of a person."""

import json
from typing import Any

import pytest
from axes.models import AccessLog
from django.db import connections
from django.test import Client

from apps.cache.models import CacheEntry
from apps.users import personal_data, selectors
from apps.users.models import User
from tests.factories.cache import CacheEntryFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db", "cache_db"])

PAGE = "/users/account/data/"
OURS = ["users_db", "cache_db"]


@pytest.fixture(autouse=True)
def what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what these two databases hold."""
    held = [holding for holding in personal_data._holdings if holding.alias in OURS]
    monkeypatch.setattr(personal_data, "_holdings", held)


def download(client: Client) -> dict[str, Any]:
    response = client.get(PAGE)
    assert response.status_code == 200
    found: dict[str, Any] = json.loads(response.getvalue())
    return found


def test_file_has_a_section_for_each_database_and_says_that_it_is_complete(signed_in: Client) -> None:
    found = download(signed_in)
    assert list(found["databases"]) == OURS
    assert found["incomplete"] == []


def test_file_holds_the_account_without_the_hash_of_the_password(signed_in: Client, user: User) -> None:
    [account] = download(signed_in)["databases"]["users_db"]["account"]
    assert (account["username"], account["email"]) == (user.username, user.email)
    held = {field.name for field in User._meta.concrete_fields}
    assert held - account.keys() == {"password"}


def test_file_holds_ones_own_rows_and_nobody_elses(signed_in: Client, user: User) -> None:
    other = UserFactory.create()
    CacheEntryFactory.create(key=f"user:{user.pk}0", value="not mine")
    for person, whose in ((user, "mine"), (other, "not mine")):
        AccessLog.objects.create(username=person.username, user_agent=whose)
        CacheEntryFactory.create(key=f"user:{person.pk}", value=whose)
        CacheEntryFactory.create(key=f"user:{person.pk}:posts", value=whose)
    sections = download(signed_in)["databases"]
    assert {row["user_agent"] for row in sections["users_db"]["log-ins"]} == {"<unknown>", "mine"}
    assert [row["value"] for row in sections["cache_db"]["cached figures"]] == ["mine", "mine"]


def test_file_of_whoever_takes_a_name_holds_no_log_in_of_whoever_had_it(client: Client) -> None:
    old = UserFactory.create(username="bob")
    AccessLog.objects.create(username="bob", user_agent="the old bob's")
    old.username = "robert"
    old.save()
    new = UserFactory.create(username="bob", email="new@example.com")
    held = {user.pk: [row["user_agent"] for row in selectors.log_ins_held(user.pk)] for user in (old, new)}
    assert held == {old.pk: ["the old bob's"], new.pk: []}


def test_log_in_that_is_older_than_the_account_is_somebody_elses() -> None:
    AccessLog.objects.create(username="bob", user_agent="left by update()")
    assert not list(selectors.log_ins_held(UserFactory.create(username="bob").pk))


def test_nobody_has_no_log_ins() -> None:
    AccessLog.objects.create(username=None)
    assert not list(selectors.log_ins_held(404))


def test_file_is_streamed_under_a_name_and_never_cached(signed_in: Client) -> None:
    response = signed_in.get(PAGE)
    assert response.streaming
    assert response.headers["Content-Disposition"] == 'attachment; filename="my-data.json"'
    assert response.headers["Content-Type"] == "application/json"
    assert "no-store" in response.headers["Cache-Control"]


def test_database_that_does_not_answer_leaves_a_section_that_says_so(signed_in: Client) -> None:
    with connections["cache_db"].cursor() as cursor:
        cursor.execute("ALTER TABLE cache_cacheentry RENAME TO gone")
    found = download(signed_in)
    assert found["incomplete"] == ["cache_db"]
    assert "cache_db did not answer" in found["databases"]["cache_db"]["incomplete"]
    assert found["databases"]["users_db"]["account"]


def test_row_that_cannot_be_read_leaves_the_rows_before_it(
    signed_in: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_rows(user_id: int) -> Any:
        yield {"number": 1}
        yield from CacheEntry.objects.extra(where=["nonsense"]).values()

    monkeypatch.setattr(personal_data, "_holdings", [])
    personal_data.register(CacheEntry, "figures", two_rows, fate="to be deleted")
    section = download(signed_in)["databases"]["cache_db"]
    assert section["figures"] == [{"number": 1}]
    assert section["incomplete"]


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_rows_come_in_the_order_of_their_keys_whatever_the_size_of_a_batch(user: User, size: int) -> None:
    users = [user, *UserFactory.create_batch(2)]
    rows = personal_data.by_key(User.objects.order_by("-username"), "username", size=size)
    assert [row["username"] for row in rows] == [each.username for each in users]


def test_text_is_sent_as_it_is(signed_in: Client, user: User) -> None:
    User.objects.filter(pk=user.pk).update(bio='Zoë said: "</script>\u2028".')
    assert download(signed_in)["databases"]["users_db"]["account"][0]["bio"] == 'Zoë said: "</script>\u2028".'


def test_address_is_given_to_other_systems_once_it_is_confirmed(user: User, unconfirmed: User) -> None:
    assert selectors.confirmed_email(user.pk) == user.email
    assert selectors.confirmed_email(unconfirmed.pk) == ""
