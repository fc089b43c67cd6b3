"""Writes: to users_db and nowhere else, announced in the same transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from axes.models import AccessAttempt, AccessLog
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from apps.outbox import registry
from apps.outbox.models import Message
from apps.outbox.publishing import PublishedOutsideTransaction
from apps.users import services
from apps.users.confirmation import ConfirmationError, make_token
from apps.users.models import User
from apps.users.topics import DELETED, REGISTERED, SAVED
from tests.apps.users.conftest import Announced
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db"])


def register(**data: str) -> User:
    return services.create_user_with_profile(
        **({"username": "ada", "email": "ada@example.com", "password": "secret"} | data)
    )


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


def test_registration_is_announced_as_saved_and_as_registered(announced: Announced) -> None:
    user = register()
    at = user.created_at.isoformat()
    assert announced() == [(SAVED, {"id": user.pk}), (REGISTERED, {"id": user.pk, "at": at})]


def test_all_that_is_announced_of_a_person_has_one_key(announced: Announced) -> None:
    user = register()
    key = f"users.user {user.pk}"
    services.delete_user(user=user)
    assert set(Message.objects.using("users_db").values_list("key", flat=True)) == {key}


def test_nobody_can_be_announced_outside_a_transaction(user: User) -> None:
    with pytest.raises(PublishedOutsideTransaction):
        services.announce_saved(user)


@pytest.mark.django_db(databases=["users_db"], transaction=True)
def test_nothing_is_announced_after_a_rollback(announced: Announced) -> None:
    with transaction.atomic(using="users_db"):
        register()
        transaction.set_rollback(True, using="users_db")
    assert announced() == []
    assert not User.objects.exists()


@pytest.mark.parametrize("taken", [{"username": "ada"}, {"email": "ada@example.com"}])
def test_taken_name_or_address_raises_and_writes_nothing(taken: dict[str, str], announced: Announced) -> None:
    UserFactory.create(**taken)
    with pytest.raises(IntegrityError):
        register()
    assert User.objects.count() == 1
    assert announced() == []


def test_profile_is_changed_and_announced(user: User, announced: Announced) -> None:
    changed = services.update_profile(
        user=user, first_name="Ada", last_name="Lovelace", bio="Counts.", email=user.email
    )
    user.refresh_from_db()
    assert not changed
    assert user.display_name == "Ada Lovelace"
    assert user.email_confirmed_at
    assert announced() == [(SAVED, {"id": user.pk})]


def test_changed_address_is_unconfirmed(user: User) -> None:
    before = user.updated_at
    assert services.update_profile(user=user, first_name="", last_name="", bio="", email="new@example.com")
    user.refresh_from_db()
    assert user.email == "new@example.com"
    assert user.email_confirmed_at is None
    assert user.updated_at > before


def test_profile_cannot_take_the_address_of_another(user: User, announced: Announced) -> None:
    other = UserFactory.create()
    with pytest.raises(IntegrityError):
        services.update_profile(user=user, first_name="Ada", last_name="", bio="", email=other.email)
    user.refresh_from_db()
    assert (user.first_name, announced()) == ("", [])


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


BY_WHATEVER_WAY = pytest.mark.parametrize(
    "delete",
    [
        lambda user: services.delete_user(user=user),
        lambda user: user.delete(),
        lambda user: User.objects.filter(pk=user.pk).delete(),
    ],
    ids=["service", "instance", "queryset"],
)


@BY_WHATEVER_WAY
def test_deletion_is_announced_with_the_id_by_whatever_way(
    user: User, announced: Announced, delete: Callable[[User], None]
) -> None:
    user_id = user.pk
    delete(user)
    assert not User.objects.exists()
    assert announced() == [(DELETED, {"id": user_id})]


@pytest.mark.django_db(databases=["users_db"], transaction=True)
def test_deletion_that_is_undone_is_not_announced(user: User, announced: Announced) -> None:
    with transaction.atomic(using="users_db"):
        user.delete()
        transaction.set_rollback(True, using="users_db")
    assert User.objects.count() == 1
    assert announced() == []


def test_log_ins_of_a_deleted_user_are_gone_and_those_of_others_stay(user: User, announced: Announced) -> None:
    for username in (user.username, "somebody"):
        AccessLog.objects.create(username=username, ip_address="192.0.2.1")
    services.delete_user(user=user)
    assert [log.username for log in AccessLog.objects.all()] == ["somebody"]


def logged_in(username: str, address: str = "192.0.2.1") -> None:
    AccessLog.objects.create(username=username, ip_address=address)


def log_ins() -> list[tuple[str, str]]:
    return list(AccessLog.objects.order_by("pk").values_list("username", "ip_address"))


@contextmanager
def renamed_after_the_next_read(user: User, name: str) -> Iterator[None]:
    """By another process."""
    other = User.objects.get(pk=user.pk)
    other.username = name
    left = [other]

    def step_in(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if left and sql.startswith("SELECT"):
            left.pop().save()
        return result

    with connections["users_db"].execute_wrapper(step_in):
        yield
    assert not left


@BY_WHATEVER_WAY
def test_log_ins_go_with_the_name_that_a_deleted_user_has_by_now(user: User, delete: Callable[[User], None]) -> None:
    logged_in(user.username)
    with renamed_after_the_next_read(user, "robert"):
        delete(User.objects.get(pk=user.pk))
    assert not User.objects.exists()
    assert log_ins() == []


def test_log_ins_of_whoever_took_the_old_name_of_a_deleted_user_stay(user: User) -> None:
    stale, old = User.objects.get(pk=user.pk), user.username
    user.username = "robert"
    user.save()
    UserFactory.create(username=old, email="new@example.com")
    logged_in(old)
    services.delete_user(user=stale)
    assert log_ins() == [(old, "192.0.2.1")]


def test_person_who_gets_another_name_takes_their_log_ins_along(user: User) -> None:
    old = user.username
    logged_in(old)
    AccessAttempt.objects.create(username=old, ip_address="192.0.2.1", failures_since_start=1)
    user.username = "robert"
    user.save()
    assert log_ins() == [("robert", "192.0.2.1")]
    assert not AccessAttempt.objects.exists()


def test_what_was_left_under_the_new_name_is_gone(user: User) -> None:
    logged_in("robert", "192.0.2.9")
    logged_in(user.username)
    user.username = "robert"
    user.save(update_fields=["username"])
    assert log_ins() == [("robert", "192.0.2.1")]


def test_log_ins_stay_where_they_are_when_the_name_does(user: User) -> None:
    logged_in(user.username)
    user.bio = "Writes."
    user.save()
    user.username = "not saved"
    user.save(update_fields=["bio"])
    assert [username for username, _ in log_ins()] == [User.objects.get().username]


@pytest.mark.django_db(databases=["users_db"], transaction=True)
def test_name_and_log_ins_change_together_or_not_at_all(user: User) -> None:
    logged_in(user.username)
    UserFactory.create(username="taken")
    before = log_ins()
    user.username = "taken"
    with pytest.raises(IntegrityError):
        user.save()
    assert log_ins() == before


MAKE: dict[str, Callable[[], User]] = {
    "create_user": lambda: User.objects.create_user("ada", "ada@example.com", "secret"),
    "create_superuser": lambda: User.objects.create_superuser("ada", "ada@example.com", "secret"),
    "acreate_user": lambda: async_to_sync(User.objects.acreate_user)("ada", "ada@example.com", "secret"),
    "create_user_with_profile": register,
}


@pytest.mark.parametrize("way", MAKE)
def test_whoever_is_made_is_announced_once(announced: Announced, way: str) -> None:
    user = MAKE[way]()
    assert [topic for topic, _ in announced()] == [SAVED, REGISTERED]
    assert {payload["id"] for _, payload in announced()} == {user.pk}


@pytest.mark.django_db(databases=["users_db"], transaction=True)
def test_whoever_cannot_be_announced_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "topics", set())
    with pytest.raises(registry.UnknownTopic):
        User.objects.create_user("ada", "ada@example.com", "secret")
    assert not User.objects.exists()


def test_people_are_announced_again_in_the_order_in_which_a_delete_announces_them(announced: Announced) -> None:
    user_ids = [user.pk for user in UserFactory.create_batch(12)]
    services.announce_again(user_ids)
    User.objects.all().delete()
    order = [payload["id"] for _, payload in announced()]
    assert order[:12] == order[12:]


def test_no_message_holds_a_name_or_an_address(announced: Announced) -> None:
    user = register()
    services.update_profile(user=user, first_name="Ada", last_name="Lovelace", bio="Counts.", email="al@example.com")
    services.delete_user(user=user)
    assert {name for _, payload in announced() for name in payload} == {"id", "at"}


def test_confirmation_sets_updated_at(unconfirmed: User) -> None:
    now = timezone.now()
    assert services.confirm_email(token=make_token(unconfirmed)).updated_at >= now
