"""The profile, the account page, editing and deleting."""

from urllib.parse import quote

import pytest
from django.core import mail
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.users import services
from apps.users.models import User
from tests.factories.users import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db", "cache_db"])

EDIT = "/users/edit/"
DELETE = "/users/delete/"
ADA = {"first_name": "Ada", "last_name": "Lovelace", "bio": "Counts.", "email": "ada@example.com"}


def test_profile_shows_name_bio_and_date_but_no_address(client: Client) -> None:
    user = UserFactory.create(first_name="Ada", last_name="Lovelace", bio="Counts.")
    text = client.get(f"/users/{user.username}/").content.decode()
    for shown in ("Ada Lovelace", "Counts.", user.username, str(user.created_at.year)):
        assert shown in text
    assert user.email not in text
    assert "@example.com" not in text


def test_own_profile_leads_to_editing(signed_in: Client, user: User) -> None:
    other = UserFactory.create()
    assert EDIT in signed_in.get(f"/users/{user.username}/").content.decode()
    assert EDIT not in signed_in.get(f"/users/{other.username}/").content.decode()


def test_profile_text_is_escaped(client: Client) -> None:
    user = UserFactory.create(first_name="<b>Ada", bio="<script>alert(1)</script>")
    text = client.get(f"/users/{user.username}/").content.decode()
    assert "<b>Ada" not in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("name", ["nobody", "a\x00b", "x" * 3000, "é", "9" * 400, "a b"])
def test_unknown_profile_is_not_found(client: Client, name: str) -> None:
    assert client.get(f"/users/{quote(name)}/").status_code == 404


def test_profile_of_an_inactive_user_is_not_found(client: Client) -> None:
    assert client.get(f"/users/{UserFactory.create(is_active=False).username}/").status_code == 404


@pytest.mark.parametrize("name", ["jane.doe", "o+neil@home", "zoë_9-x"])
def test_profile_works_for_every_kind_of_username(client: Client, name: str) -> None:
    UserFactory.create(username=name, email="x@example.com")
    assert client.get(f"/users/{quote(name)}/").status_code == 200


def test_profile_takes_one_query_to_users_db(
    client: Client, user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1, using="users_db"):
        client.get(f"/users/{user.username}/")


def test_account_takes_no_query_beside_session_and_user(
    signed_in: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(2, using="users_db"):
        assert signed_in.get("/users/account/").status_code == 200


def test_account_shows_own_data_and_that_the_address_is_confirmed(signed_in: Client, user: User) -> None:
    text = signed_in.get("/users/account/").content.decode()
    assert user.email in text
    assert "not confirmed" not in text
    assert "Send the link again" not in text


@pytest.mark.parametrize("page", ["/users/account/", "/users/account/data/", EDIT, DELETE])
def test_private_page_asks_to_log_in(client: Client, page: str) -> None:
    assert client.get(page).headers["Location"] == f"/users/login/?next={page}"
    assert client.post(page).headers["Location"] == f"/users/login/?next={page}"


@pytest.mark.parametrize(
    "page",
    [
        "/users/account/",
        "/users/account/data/",
        "/users/account/deleted/",
        EDIT,
        DELETE,
        "/users/confirm/",
        "/users/login/",
    ],
)
def test_private_page_is_never_cached(signed_in: Client, page: str) -> None:
    assert "no-store" in signed_in.get(page).headers["Cache-Control"]


def test_edit_saves_the_profile(signed_in: Client, user: User) -> None:
    response = signed_in.post(EDIT, ADA | {"email": user.email, "bio": " Counts\r\n and  weaves. "}, follow=True)
    assert "Your profile is saved." in response.content.decode()
    user.refresh_from_db()
    assert (user.display_name, user.bio) == ("Ada Lovelace", "Counts and weaves.")
    assert user.email_confirmed_at
    assert mail.outbox == []


def test_same_address_typed_in_capitals_stays_confirmed(signed_in: Client, user: User) -> None:
    signed_in.post(EDIT, ADA | {"email": user.email.upper()})
    user.refresh_from_db()
    assert user.email_confirmed_at
    assert mail.outbox == []


def test_new_address_is_unconfirmed_and_gets_a_link(signed_in: Client, user: User) -> None:
    response = signed_in.post(EDIT, ADA | {"email": "New@Example.com"}, follow=True)
    text = response.content.decode()
    assert "We have sent a link to new@example.com" in text
    assert "not confirmed" in text
    [sent] = mail.outbox
    assert sent.to == ["new@example.com"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, "a\x00b") for field in ADA),
        ("first_name", "x" * 151),
        ("last_name", "x" * 151),
        ("bio", "x" * 201),
        ("email", ""),
        ("email", "x" * 250 + "@example.com"),
        ("email", "nonsense"),
    ],
)
def test_bad_value_is_a_form_error_and_saves_nothing(signed_in: Client, user: User, field: str, value: str) -> None:
    response = signed_in.post(EDIT, ADA | {field: value})
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    user.refresh_from_db()
    assert user.first_name == ""


def test_address_of_another_is_refused(signed_in: Client) -> None:
    other = UserFactory.create()
    response = signed_in.post(EDIT, ADA | {"email": other.email.upper()})
    assert "There is already an account with this e-mail address." in response.content.decode()


def test_address_that_is_taken_at_the_same_moment_is_a_form_error(
    signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = services.update_profile

    def update_after_rival(**data: object) -> bool:
        UserFactory.create(email=ADA["email"])
        return update(**data)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "update_profile", update_after_rival)
    response = signed_in.post(EDIT, ADA)
    assert response.status_code == 200
    assert "There is already an account with this e-mail address." in response.content.decode()


def test_delete_with_the_password_removes_the_account_and_signs_out(signed_in: Client, user: User) -> None:
    response = signed_in.post(DELETE, {"password": PASSWORD})
    assert response.headers["Location"].startswith("/users/account/deleted/?token=")
    assert not User.objects.filter(pk=user.pk).exists()
    assert signed_in.get("/users/account/").status_code == 302


def test_delete_says_so_afterwards(signed_in: Client) -> None:
    response = signed_in.post(DELETE, {"password": PASSWORD}, follow=True)
    assert "<h1>Your account is deleted</h1>" in response.content.decode()


@pytest.mark.parametrize("password", ["", "wrong", "a\x00b", "x" * 5000])
def test_delete_without_the_password_deletes_nothing(signed_in: Client, user: User, password: str) -> None:
    response = signed_in.post(DELETE, {"password": password})
    assert response.status_code == 200
    assert response.context["form"].errors
    assert User.objects.filter(pk=user.pk).exists()


def test_visiting_the_delete_page_deletes_nothing(signed_in: Client, user: User) -> None:
    assert signed_in.get(DELETE).status_code == 200
    assert User.objects.filter(pk=user.pk).exists()


def test_deleted_user_is_signed_out_everywhere(signed_in: Client, user: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(user)
    signed_in.post(DELETE, {"password": PASSWORD})
    assert elsewhere.get("/users/account/").status_code == 302


def test_guesses_at_the_password_are_counted_as_those_at_log_in_are(signed_in: Client, user: User) -> None:
    answers = [signed_in.post(DELETE, {"password": "wrong"}).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    assert signed_in.post(DELETE, {"password": PASSWORD}).status_code == 429
    assert User.objects.filter(pk=user.pk).exists()
    log_in = Client().post("/users/login/", {"username": user.username, "password": PASSWORD})
    assert log_in.status_code == 429


def test_change_of_address_to_and_fro_mails_each_address_once(signed_in: Client) -> None:
    for email in ("one@example.com", "two@example.com") * 3:
        signed_in.post(EDIT, ADA | {"email": email})
    assert [sent.to for sent in mail.outbox] == [["one@example.com"], ["two@example.com"]]
