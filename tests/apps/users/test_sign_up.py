"""Sign up, and the mail that confirms the address."""

import re
from typing import Any

import pytest
from django.core import mail, signing
from django.core.management import call_command
from django.db import IntegrityError, connections
from django.test import Client
from django.urls import reverse

from apps.cache.models import CacheEntry
from apps.users import confirmation, services, urls
from apps.users.forms import SignUpForm
from apps.users.models import User
from tests.factories.users import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db", "cache_db"])

URL = "/users/signup/"
ADA = {"username": "ada", "email": "Ada@Example.com", "password1": PASSWORD, "password2": PASSWORD}


def link_in(sent: mail.EmailMessage) -> str:
    found = re.search(r"http://testserver(/users/confirm/\S+)", str(sent.body))
    assert found
    return found[1]


def link_of(user: User) -> str:
    return f"/users/confirm/?token={confirmation.make_token(user)}"


def test_sign_up_makes_the_account_signs_in_and_mails_a_link(client: Client) -> None:
    response = client.post(URL, ADA, follow=True)
    assert response.redirect_chain == [("/users/account/", 302)]
    user = User.objects.get()
    assert (user.username, user.email, user.email_confirmed_at) == ("ada", "ada@example.com", None)
    assert response.context["user"] == user
    assert "We have sent a link to ada@example.com" in response.content.decode()
    [sent] = mail.outbox
    assert sent.to == ["ada@example.com"]
    assert link_in(sent)


def test_mail_is_plain_text_without_html_entities(client: Client) -> None:
    client.post(URL, ADA | {"username": "o+neil@home"})
    assert "Hello o+neil@home," in mail.outbox[0].body
    assert "&" not in mail.outbox[0].body
    assert not getattr(mail.outbox[0], "alternatives", [])


def test_link_asks_on_get_and_confirms_on_post(client: Client) -> None:
    client.post(URL, ADA)
    link = link_in(mail.outbox[0])
    assert "Confirm my address" in client.get(link).content.decode()
    assert User.objects.get().email_confirmed_at is None
    response = client.post(link, follow=True)
    assert response.redirect_chain == [("/users/account/", 302)]
    assert "ada@example.com is confirmed as the address of ada" in response.content.decode()
    assert User.objects.get().email_confirmed_at


def test_link_works_in_a_browser_that_is_not_signed_in(client: Client, unconfirmed: User) -> None:
    response = client.post(link_of(unconfirmed), follow=True)
    assert "is confirmed as the address" in response.content.decode()
    assert response.redirect_chain[-1] == ("/users/login/?next=/users/account/", 302)


def test_link_followed_twice_says_that_it_is_done(client: Client, unconfirmed: User) -> None:
    link = link_of(unconfirmed)
    client.post(link)
    assert "Confirmed already" in client.get(link).content.decode()
    assert client.post(link).status_code == 302


def test_expired_link_says_so(client: Client, unconfirmed: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 1_000_000_000.0)
        link = link_of(unconfirmed)
    for response in (client.get(link), client.post(link)):
        assert response.status_code == 400
        assert "The link has expired: it was good for 3 days." in response.content.decode()
    unconfirmed.refresh_from_db()
    assert unconfirmed.email_confirmed_at is None


def test_link_for_an_earlier_address_says_so(client: Client, unconfirmed: User) -> None:
    link = link_of(unconfirmed)
    User.objects.update(email="other@example.com")
    for response in (client.get(link), client.post(link)):
        assert response.status_code == 400
        assert "address of the account was changed" in response.content.decode()


def test_link_of_a_deleted_account_says_so(client: Client, unconfirmed: User) -> None:
    link = link_of(unconfirmed)
    unconfirmed.delete()
    for response in (client.get(link), client.post(link)):
        assert response.status_code == 400
        assert "has been deleted" in response.content.decode()


@pytest.mark.parametrize("token", ["", "nonsense", "a%00b", "é", "WzEsImEiXQ:1:x", "9" * 5000])
def test_broken_link_says_so(client: Client, token: str) -> None:
    for response in (client.get(f"/users/confirm/?token={token}"), client.post(f"/users/confirm/?token={token}")):
        assert response.status_code == 400
        assert "The link is not complete" in response.content.decode()


def test_token_that_was_signed_for_something_else_confirms_nothing(client: Client, unconfirmed: User) -> None:
    token = signing.dumps([unconfirmed.pk, unconfirmed.email], salt="something else")
    assert client.post(f"/users/confirm/?token={token}").status_code == 400
    unconfirmed.refresh_from_db()
    assert unconfirmed.email_confirmed_at is None


def test_link_can_be_sent_again_from_the_account_page(client: Client, unconfirmed: User) -> None:
    client.force_login(unconfirmed)
    assert "Send the link again" in client.get("/users/account/").content.decode()
    response = client.post("/users/confirm/send/", follow=True)
    assert "We have sent a link to" in response.content.decode()
    assert link_in(mail.outbox[0])


def test_nothing_is_sent_when_the_address_is_confirmed(signed_in: Client) -> None:
    response = signed_in.post("/users/confirm/send/", follow=True)
    assert "confirmed already" in response.content.decode()
    assert mail.outbox == []


def test_link_is_sent_on_post_only(signed_in: Client) -> None:
    assert signed_in.get("/users/confirm/send/").status_code == 405


def test_sign_up_survives_a_mail_server_that_is_down(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any) -> None:
        raise ConnectionRefusedError("no mail server at 127.0.0.1:25")

    monkeypatch.setattr(confirmation, "send_mail", refuse)
    response = client.post(URL, ADA, follow=True)
    assert response.context["user"].username == "ada"
    assert "could not be sent. Send it again in a few minutes." in response.content.decode()
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info
    assert "ada@example.com" not in record.getMessage()


@pytest.mark.parametrize("email", ["ada@exämple.com", "ada@" + "ä" * 60 + ".example"])
def test_address_with_letters_beyond_ascii_is_no_server_error(client: Client, email: str) -> None:
    assert client.post(URL, ADA | {"email": email}).status_code in (200, 302)


def test_taken_address_is_said_plainly_however_it_is_typed(client: Client) -> None:
    UserFactory.create(email="ada@example.com")
    response = client.post(URL, ADA)
    assert response.status_code == 200
    assert "There is already an account with this e-mail address." in response.content.decode()
    assert User.objects.count() == 1


def test_username_that_differs_only_in_case_is_taken(client: Client) -> None:
    UserFactory.create(username="Ada")
    assert "This username is taken." in client.post(URL, ADA).content.decode()


@pytest.mark.parametrize(
    "name", ["login", "logout", "signup", "account", "Edit", "delete", "confirm", ".", "..", "a/b"]
)
def test_username_that_is_a_page_of_ours_is_reserved(client: Client, name: str) -> None:
    assert "This username is reserved." in client.post(URL, ADA | {"username": name}).content.decode()
    assert not User.objects.exists()


def test_every_one_word_page_is_reserved() -> None:
    words = [str(route.pattern).removesuffix("/") for route in urls.urlpatterns if str(route.pattern).count("/") == 1]
    for word in set(words) - {"<str:username>"}:
        assert "username" in SignUpForm(ADA | {"username": word}).errors


@pytest.mark.parametrize("field", ["username", "email", "password1", "password2"])
@pytest.mark.parametrize("value", ["", "a\x00b", "x" * 5000])
def test_bad_value_is_a_form_error(client: Client, field: str, value: str) -> None:
    response = client.post(URL, ADA | {field: value})
    assert response.status_code == 200
    assert response.context["form"].errors
    assert not User.objects.exists()


@pytest.mark.parametrize("weak", ["short", "12345678901", "password123", "ada@example"])
def test_weak_password_is_refused(client: Client, weak: str) -> None:
    response = client.post(URL, ADA | {"password1": weak, "password2": weak})
    assert response.context["form"].errors["password2"]


@pytest.mark.parametrize(
    ("rival", "complaint"),
    [({"username": "ada"}, "This username is taken."), ({"email": "ada@example.com"}, "There is already an account")],
)
def test_second_of_two_simultaneous_sign_ups_gets_a_form_error(
    client: Client, monkeypatch: pytest.MonkeyPatch, rival: dict[str, str], complaint: str
) -> None:
    register = services.create_user_with_profile

    def register_after_rival(**data: str) -> User:
        UserFactory.create(**rival)
        return register(**data)

    monkeypatch.setattr(services, "create_user_with_profile", register_after_rival)
    response = client.post(URL, ADA)
    assert response.status_code == 200
    assert complaint in response.content.decode()
    assert User.objects.count() == 1
    assert mail.outbox == []


def test_integrity_error_that_no_field_explains_is_not_hidden(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**data: str) -> User:
        raise IntegrityError("something else")

    monkeypatch.setattr(services, "create_user_with_profile", fail)
    with pytest.raises(IntegrityError, match="something else"):
        client.post(URL, ADA)


def test_signed_in_visitor_is_sent_to_the_account_page(signed_in: Client) -> None:
    assert signed_in.get(URL).headers["Location"] == reverse("users:account")


def test_sign_up_form_is_shown(client: Client) -> None:
    assert client.get(URL).status_code == 200


def test_csrf_token_is_required() -> None:
    assert Client(enforce_csrf_checks=True).post(URL, ADA).status_code == 403


def test_second_link_within_a_minute_is_answered_the_same_and_not_mailed(client: Client, unconfirmed: User) -> None:
    client.force_login(unconfirmed)
    for _ in range(3):
        assert "We have sent a link to" in client.post("/users/confirm/send/", follow=True).content.decode()
    assert len(mail.outbox) == 1


def test_what_keeps_mail_back_does_not_show_the_address(client: Client, unconfirmed: User) -> None:
    client.force_login(unconfirmed)
    client.post("/users/confirm/send/")
    assert unconfirmed.email not in CacheEntry.objects.get().key


def test_link_that_could_not_be_sent_can_be_sent_again_at_once(
    client: Client, unconfirmed: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise ConnectionRefusedError

    client.force_login(unconfirmed)
    with monkeypatch.context() as patch:
        patch.setattr(confirmation, "send_mail", refuse)
        client.post("/users/confirm/send/")
    client.post("/users/confirm/send/")
    assert len(mail.outbox) == 1


def test_link_is_sent_without_a_cache(client: Client, unconfirmed: User, caplog: pytest.LogCaptureFixture) -> None:
    client.force_login(unconfirmed)
    with connections["cache_db"].cursor() as cursor:
        cursor.execute("ALTER TABLE cache_cacheentry RENAME TO gone")
    assert client.post("/users/confirm/send/").status_code == 302
    assert len(mail.outbox) == 1
    assert "The cache does not say" in caplog.text


def test_address_of_a_superuser_is_taken_however_it_is_typed() -> None:
    User.objects.create_superuser("m1", "Mixed.Case@Example.com", PASSWORD)
    form = SignUpForm(ADA | {"email": "mixed.case@example.com"})
    assert form.errors.keys() == {"email"}


# createsuperuser looks at the migrations of default.
@pytest.mark.django_db(databases=["default", "users_db"])
def test_address_saved_by_whatever_way_is_lower_case() -> None:
    User.objects.create_user("m2", "Two@Example.com")
    call_command("createsuperuser", "--noinput", username="m3", email="Three@Example.com", database="users_db")
    User(username="m4", email="Four@Example.com").save()
    emails = User.objects.order_by("username").values_list("email", flat=True)
    assert list(emails) == ["two@example.com", "three@example.com", "four@example.com"]
