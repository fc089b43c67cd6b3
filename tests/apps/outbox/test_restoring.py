"""What is done to a database that was restored to an earlier moment, before anybody writes to it."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from pytest_django import DjangoAssertNumQueries

from apps.analytics.models import AnalyticsEvent
from apps.outbox import restoring
from apps.outbox.models import Message, Tombstone
from apps.outbox.registry import declare_topic
from apps.outbox.restoring import GAP, advance_keys, advances, parents_on, resurrected
from apps.outbox.tombstones import bury, connect
from apps.users.models import User
from apps.users.topics import DELETED
from tests.factories.blog import PostFactory, UserProfileFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])


@pytest.fixture(autouse=True)
def connected(only_what_a_test_declares: None) -> None:
    declare_topic(DELETED)
    connect()


def after_restore(*args: str, alias: str = "users_db") -> str:
    out = StringIO()
    call_command("after_restore", "--database", alias, *args, stdout=out)
    return out.getvalue()


def settle() -> None:
    """So that only what the test does is behind."""
    advance_keys("users_db")


def test_parents_are_the_models_to_which_other_databases_point() -> None:
    assert parents_on("users_db") == [User]
    assert parents_on("default") == []


def leave_post(user_id: int) -> None:
    PostFactory.create(author_id=user_id)


def leave_profile(user_id: int) -> None:
    UserProfileFactory.create(user_id=user_id)


def leave_event(user_id: int) -> None:
    AnalyticsEvent.objects.create(event_type="x", user_id=user_id)


def leave_tombstone(user_id: int) -> None:
    bury(User, [2, user_id, 10], using="analytics_db")


@pytest.mark.parametrize("leave", [leave_post, leave_profile, leave_event, leave_tombstone])
def test_next_row_gets_no_id_that_another_database_knows(leave: Any) -> None:
    lost = UserFactory.create().pk + 5_000
    leave(lost)
    (moved,) = advance_keys("users_db")
    assert (moved.model, moved.least) == (User, lost + GAP)
    assert UserFactory.create().pk == lost + GAP + 1


def test_sequence_of_a_table_that_has_had_no_row_is_moved() -> None:
    if connections["users_db"].vendor == "sqlite":
        with connections["users_db"].cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'users_user'")
    lost = 10_000_000  # beyond what any other test has used, because no rollback takes a number back
    leave_post(lost)
    advance_keys("users_db")
    assert UserFactory.create().pk == lost + GAP + 1


def test_sequence_that_is_ahead_stays_where_it_is() -> None:
    settle()
    before = UserFactory.create().pk
    User.objects.all().delete()
    assert advance_keys("users_db", gap=0) == []
    assert UserFactory.create().pk == before + 1


def test_looking_moves_nothing() -> None:
    leave_post(UserFactory.create().pk + 5_000)
    (due,) = advances("users_db")
    assert due.is_due
    assert advances("users_db") == [due]


def test_row_that_is_gone_elsewhere_is_found_and_others_are_not() -> None:
    user, stays = UserFactory.create_batch(2)
    bury(User, [user.pk, 404], using="default")
    bury(AnalyticsEvent, [stays.pk], using="default")
    assert list(resurrected(User, using="users_db")) == [user]


def test_rows_are_looked_for_a_batch_at_a_time(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    users = UserFactory.create_batch(5)
    bury(User, [user.pk for user in users], using="default")
    monkeypatch.setattr(restoring, "BATCH", 2)
    with django_assert_num_queries(3, using="default"):
        assert list(resurrected(User, using="users_db")) == users


def test_fix_deletes_again_through_the_service_and_tells_the_others() -> None:
    user, stays = UserFactory.create_batch(2)
    user_id = user.pk
    bury(User, [user_id], using="default")
    settle()
    said = after_restore("--fix")
    assert said == f"users_db: 1 of users.user are back, deleted again: {user_id}\n"
    assert list(User.objects.all()) == [stays]
    assert set(Message.objects.using("users_db").values_list("payload__id", flat=True)) == {user_id}


def test_row_of_a_model_without_a_service_is_deleted_by_the_orm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "_deletions", {})
    user = UserFactory.create()
    bury(User, [user.pk], using="default")
    after_restore("--fix")
    assert not User.objects.exists()


def test_without_fix_nothing_changes_and_the_status_is_1() -> None:
    user = UserFactory.create()
    bury(User, [user.pk], using="default")
    before = advances("users_db")
    with pytest.raises(CommandError, match="Nothing was changed"):
        after_restore()
    assert User.objects.get() == user
    assert advances("users_db") == before


def test_second_time_finds_nothing() -> None:
    bury(User, [UserFactory.create().pk, 9_000], using="default")
    assert "the next id of users.user was moved from" in after_restore("--fix")
    assert after_restore("--fix") == after_restore() == ""


def test_database_to_which_none_points_needs_nothing() -> None:
    assert "nothing to do" in after_restore(alias="default")


def test_database_that_does_not_answer_is_named_and_nothing_is_moved() -> None:
    before = advances("users_db")
    with transaction.atomic(using="analytics_db"):
        with connections["analytics_db"].cursor() as cursor:
            cursor.execute("ALTER TABLE outbox_tombstone RENAME TO gone")
        with pytest.raises(CommandError, match="because of analytics_db"), transaction.atomic(using="analytics_db"):
            after_restore("--fix")
        transaction.set_rollback(True, using="analytics_db")
    assert advances("users_db") == before
    assert not Tombstone.objects.using("default").exists()
