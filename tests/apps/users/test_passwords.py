"""Log in, log out, and the ways to a new password."""

import re

import pytest
from axes.models import AccessAttempt
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.cache.models import CacheEntry
from apps.users.models import User
from tests.factories.users import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db", "cache_db"])

NEW = "another horse entirely"


def log_in(client: Client, user: User, password: str = PASSWORD, **extra: str) -> int:
    data = {"username": user.username, "password": password, **extra}
    return client.post("/users/login/", data).status_code


def is_signed_in(client: Client) -> bool:
    return client.get("/users/account/").status_code == 200


def reset_link(client: Client, email: str) -> str:
    client.post("/users/password/reset/", {"email": email})
    found = re.search(r"http://testserver(/users/password/reset/\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


def test_log_in_with_username_and_password(client: Client, user: User) -> None:
    response = client.post("/users/login/", {"username": user.username, "password": PASSWORD})
    assert response.headers["Location"] == "/"
    assert is_signed_in(client)


def test_log_in_leads_back_to_where_the_visitor_came_from(client: Client, user: User) -> None:
    page = client.get("/users/login/?next=/users/edit/").content.decode()
    assert '<input type="hidden" name="next" value="/users/edit/">' in page
    data = {"username": user.username, "password": PASSWORD, "next": "/users/edit/"}
    assert client.post("/users/login/", data).headers["Location"] == "/users/edit/"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "\x00//evil.example", "javascript:x"])
def test_log_in_never_leads_to_another_site(client: Client, user: User, target: str) -> None:
    data = {"username": user.username, "password": PASSWORD, "next": target}
    assert client.post("/users/login/", data).headers["Location"] == "/"


@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize("value", ["", "a\x00b", "x" * 5000])
def test_bad_log_in_is_a_form_error(client: Client, user: User, field: str, value: str) -> None:
    response = client.post("/users/login/", {"username": user.username, "password": PASSWORD, field: value})
    assert response.status_code == 200
    assert response.context["form"].errors


def test_failed_log_in_is_remembered_with_as_much_of_the_name_as_its_column_holds(client: Client) -> None:
    client.post("/users/login/", {"username": "x" * 5000, "password": PASSWORD})
    assert AccessAttempt.objects.get().username == "x" * 255


def test_address_is_no_username(client: Client, user: User) -> None:
    response = client.post("/users/login/", {"username": user.email, "password": PASSWORD})
    assert response.context["form"].errors


def test_inactive_user_cannot_log_in(client: Client) -> None:
    assert log_in(client, UserFactory.create(is_active=False)) == 200
    assert not is_signed_in(client)


def test_log_in_is_blocked_after_five_failures_even_with_the_right_password(client: Client, user: User) -> None:
    assert [log_in(client, user, "wrong") for _ in range(5)] == [200, 200, 200, 200, 429]
    response = client.post("/users/login/", {"username": user.username, "password": PASSWORD})
    assert response.status_code == 429
    assert "users/locked_out.html" in [template.name for template in response.templates]
    text = response.content.decode()
    assert "Too many attempts" in text
    assert "blocked for 15 minutes" in text
    assert not is_signed_in(client)


def test_block_is_for_one_name_only(client: Client, user: User) -> None:
    for _ in range(5):
        log_in(client, user, "wrong")
    assert log_in(client, UserFactory.create()) == 302


def test_block_is_for_one_address_only(client: Client, user: User) -> None:
    for _ in range(5):
        log_in(client, user, "wrong")
    assert log_in(Client(REMOTE_ADDR="192.0.2.7"), user) == 302


def test_success_forgets_earlier_failures(client: Client, user: User) -> None:
    for _ in range(2):
        for _ in range(4):
            assert log_in(client, user, "wrong") == 200
        assert log_in(client, user) == 302


def test_log_out_on_post_only(signed_in: Client) -> None:
    assert signed_in.get("/users/logout/").status_code == 405
    assert is_signed_in(signed_in)
    assert signed_in.post("/users/logout/").headers["Location"] == "/"
    assert not is_signed_in(signed_in)


def test_password_change_keeps_this_session_and_ends_the_others(signed_in: Client, user: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(user)
    data = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    response = signed_in.post("/users/password/change/", data, follow=True)
    assert "Your password is changed." in response.content.decode()
    assert is_signed_in(signed_in)
    assert not is_signed_in(elsewhere)


@pytest.mark.parametrize("field", ["old_password", "new_password1", "new_password2"])
@pytest.mark.parametrize("value", ["", "a\x00b", "wrong"])
def test_bad_password_change_is_a_form_error(signed_in: Client, user: User, field: str, value: str) -> None:
    data = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW} | {field: value}
    response = signed_in.post("/users/password/change/", data)
    assert response.status_code == 200
    assert response.context["form"].errors
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_password_change_is_for_the_signed_in(client: Client) -> None:
    assert client.get("/users/password/change/").headers["Location"].startswith("/users/login/?next=")


def test_reset_says_the_same_for_known_and_unknown_addresses(client: Client, user: User) -> None:
    def answers(email: str) -> tuple[int, str, str]:
        response = client.post("/users/password/reset/", {"email": email}, follow=True)
        text = re.sub(r"csrfmiddlewaretoken.*?>", "", response.content.decode())
        return response.status_code, response.redirect_chain[-1][0], text.partition("</main>")[0]

    known = answers(user.email)
    assert len(mail.outbox) == 1
    assert answers("nobody@example.com") == known
    assert len(mail.outbox) == 1


def test_reset_mail_is_plain_text_to_the_address_on_file(client: Client, user: User) -> None:
    client.post("/users/password/reset/", {"email": user.email.upper()})
    [sent] = mail.outbox
    assert sent.to == [user.email]
    assert sent.subject == "Choose a new password"
    assert "<" not in sent.body


def test_reset_link_sets_a_new_password_once(client: Client, user: User) -> None:
    link = reset_link(client, user.email)
    form = client.get(link, follow=True)
    response = client.post(form.request["PATH_INFO"], {"new_password1": NEW, "new_password2": NEW}, follow=True)
    assert response.redirect_chain == [("/users/login/", 302)]
    assert "Your password is changed. Log in" in response.content.decode()
    assert log_in(client, user, NEW) == 302
    assert "does not work any more" in Client().get(link).content.decode()


def test_reset_lifts_the_block(client: Client, user: User) -> None:
    for _ in range(5):
        log_in(client, user, "wrong")
    form = client.get(reset_link(client, user.email), follow=True)
    client.post(form.request["PATH_INFO"], {"new_password1": NEW, "new_password2": NEW})
    assert log_in(client, user, NEW) == 302


@pytest.mark.parametrize("value", ["", "a\x00b", "mismatch"])
def test_bad_new_password_is_a_form_error(client: Client, user: User, value: str) -> None:
    form = client.get(reset_link(client, user.email), follow=True)
    response = client.post(form.request["PATH_INFO"], {"new_password1": value, "new_password2": NEW})
    assert response.status_code == 200
    assert response.context["form"].errors


@pytest.mark.parametrize("email", ["", "a\x00b", "a\x00b@example.com", "nonsense", "x" * 5000 + "@example.com"])
def test_bad_address_is_a_form_error(client: Client, email: str) -> None:
    response = client.post("/users/password/reset/", {"email": email})
    assert response.status_code == 200
    assert response.context["form"].errors


@pytest.mark.parametrize("uid", ["x", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "AGE", "%00"])
def test_broken_reset_link_says_so(client: Client, uid: str) -> None:
    response = client.get(f"/users/password/reset/{uid}/abc-def/")
    assert response.status_code == 200
    assert "This link does not work any more" in response.content.decode()


@pytest.mark.parametrize("page", ["/users/login/", "/users/password/reset/", "/users/password/reset/sent/"])
def test_page_is_shown_to_anybody(client: Client, page: str) -> None:
    assert client.get(page).status_code == 200


def test_guesses_at_the_old_password_are_counted_and_never_kept(signed_in: Client, user: User) -> None:
    data = {"old_password": "a guess", "new_password1": NEW, "new_password2": NEW}
    answers = [signed_in.post("/users/password/change/", data).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    assert signed_in.post("/users/password/change/", data | {"old_password": PASSWORD}).status_code == 429
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    kept = AccessAttempt.objects.get().post_data
    assert "a guess" not in kept
    assert NEW not in kept


def test_second_reset_within_a_minute_is_answered_the_same_and_not_mailed(client: Client, user: User) -> None:
    answers = {
        client.post("/users/password/reset/", {"email": email}).headers["Location"]
        for email in (user.email, user.email.upper(), user.email)
    }
    assert answers == {"/users/password/reset/sent/"}
    assert len(mail.outbox) == 1


def test_reset_after_a_minute_is_mailed_again(client: Client, user: User) -> None:
    client.post("/users/password/reset/", {"email": user.email})
    CacheEntry.objects.update(expires_at=timezone.now())
    client.post("/users/password/reset/", {"email": user.email})
    assert len(mail.outbox) == 2


def test_unknown_address_leaves_nothing_in_the_cache(client: Client) -> None:
    client.post("/users/password/reset/", {"email": "nobody@example.com"})
    assert not CacheEntry.objects.exists()


def test_block_behind_a_proxy_is_for_the_visitor_and_not_for_the_proxy(user: User, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = 1
    attacker, owner = (Client(headers={"X-Forwarded-For": f"10.9.9.9, {a}"}) for a in ("192.0.2.66", "192.0.2.7"))
    assert [log_in(attacker, user, "wrong") for _ in range(5)][-1] == 429
    assert log_in(owner, user) == 302
