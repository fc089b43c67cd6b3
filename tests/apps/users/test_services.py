"""Writes: to users_db and nowhere else, and announced after the commit."""

from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from apps.users import services, signals
from apps.users.confirmation import ConfirmationError, make_token
from apps.users.models import User
from tests.apps.users.conftest import Announced, Commits
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db"])


def register(**data: str) -> User:
    return services.register_user(**({"username": "ada", "email": "ada@example.com", "password": "secret"} | data))


@pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])
def test_user_is_written_to_users_db_and_its_table_is_nowhere_else() -> None:
    register()
    assert User.objects.using("users_db").filter(username="ada").exists()
    for alias in ("default", "analytics_db", "cache_db"):
        assert "users_user" not in connections[alias].introspection.table_names()


def test_new_user_has_a_hashed_password_and_an_unconfirmed_address() -> None:
    user = register()
    assert user.check_password("secret")
    assert user.password != "secret"
    assert user.email_confirmed_at is None


def test_registration_is_announced_as_saved_and_as_registered(announced: Announced, commits: Commits) -> None:
    with commits():
        user = register()
    data = {"user_id": user.pk, "username": "ada", "display_name": "ada", "bio": ""}
    assert announced == [("user_saved", data), ("user_registered", data)]


def test_nothing_is_announced_before_the_commit(announced: Announced) -> None:
    register()
    assert announced == []


@pytest.mark.django_db(databases=["users_db"], transaction=True)
def test_nothing_is_announced_after_a_rollback(announced: Announced) -> None:
    with transaction.atomic(using="users_db"):
        register()
        transaction.set_rollback(True, using="users_db")
    assert announced == []
    assert not User.objects.exists()


@pytest.mark.parametrize("taken", [{"username": "ada"}, {"email": "ada@example.com"}])
def test_taken_name_or_address_raises_and_writes_nothing(
    taken: dict[str, str], announced: Announced, commits: Commits
) -> None:
    UserFactory.create(**taken)
    with commits(), pytest.raises(IntegrityError):
        register()
    assert User.objects.count() == 1
    assert announced == []


def test_receiver_that_fails_is_logged_and_does_not_stop_the_others(
    announced: Announced, commits: Commits, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**kwargs: Any) -> None:
        raise RuntimeError("the blog is down")

    signals.user_saved.receivers.clear()
    signals.user_saved.connect(broken)
    with commits():
        register()
    assert [name for name, _ in announced] == ["user_registered"]
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "the blog is down" in record.getMessage()
    assert record.exc_info


def test_profile_is_changed_and_announced(user: User, announced: Announced, commits: Commits) -> None:
    with commits():
        changed = services.update_profile(
            user=user, first_name="Ada", last_name="Lovelace", bio="Counts.", email=user.email
        )
    user.refresh_from_db()
    assert not changed
    assert user.display_name == "Ada Lovelace"
    assert user.email_confirmed_at
    data = {"user_id": user.pk, "username": user.username, "display_name": "Ada Lovelace", "bio": "Counts."}
    assert announced == [("user_saved", data)]


def test_changed_address_is_unconfirmed(user: User) -> None:
    before = user.updated_at
    assert services.update_profile(user=user, first_name="", last_name="", bio="", email="new@example.com")
    user.refresh_from_db()
    assert user.email == "new@example.com"
    assert user.email_confirmed_at is None
    assert user.updated_at > before


def test_profile_cannot_take_the_address_of_another(user: User, announced: Announced, commits: Commits) -> None:
    other = UserFactory.create()
    with commits(), pytest.raises(IntegrityError):
        services.update_profile(user=user, first_name="Ada", last_name="", bio="", email=other.email)
    user.refresh_from_db()
    assert (user.first_name, announced) == ("", [])


def test_confirmation_is_noted_once(unconfirmed: User) -> None:
    token = make_token(unconfirmed)
    first = services.confirm_email(token=token).email_confirmed_at
    assert first
    assert services.confirm_email(token=token).email_confirmed_at == first


def test_link_for_the_old_address_does_not_confirm_the_new_one(unconfirmed: User) -> None:
    token = make_token(unconfirmed)
    User.objects.update(email="new@example.com")
    with pytest.raises(ConfirmationError, match="was changed after this link was sent"):
        services.confirm_email(token=token)
    unconfirmed.refresh_from_db()
    assert unconfirmed.email_confirmed_at is None


def test_link_confirms_its_own_account_only(unconfirmed: User) -> None:
    bystander = UserFactory.create(email_confirmed_at=None)
    services.confirm_email(token=make_token(unconfirmed))
    bystander.refresh_from_db()
    assert bystander.email_confirmed_at is None


def test_deletion_is_announced_with_the_id(user: User, announced: Announced, commits: Commits) -> None:
    user_id = user.pk
    with commits():
        services.delete_user(user=user)
    assert not User.objects.exists()
    assert announced == [("user_deleted", {"user_id": user_id})]


def test_confirmation_sets_updated_at(unconfirmed: User) -> None:
    now = timezone.now()
    assert services.confirm_email(token=make_token(unconfirmed)).updated_at >= now
