"""Rows that point at a deleted one, by the policies of the demo's fields: KEEP, CASCADE and SET_NULL."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db import transaction
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.blog.models import Post, UserProfile
from apps.outbox import tombstones
from apps.outbox.models import Message, Tombstone
from apps.outbox.registry import NoOutbox, declare_topic, handler, handlers
from apps.outbox.tombstones import buried, bury, follow, key_of, progress, tombstone
from apps.users.models import User
from apps.users.topics import DELETED
from tests.apps.outbox.conftest import drain
from tests.factories.blog import PostFactory, UserProfileFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])

PROFILE, EVENT, ACTIVITY = (
    "outbox.tombstone blog.UserProfile.user",
    "outbox.tombstone analytics.AnalyticsEvent.user",
    "outbox.tombstone analytics.UserActivity.user",
)
NOW = "2036-01-02T03:04:05Z"


@pytest.fixture(autouse=True)
def connected(only_what_a_test_declares: None) -> None:
    declare_topic(DELETED)
    tombstones.connect()


def topics() -> list[str]:
    return sorted(Message.objects.using("users_db").values_list("topic", flat=True))


def test_each_field_with_a_policy_gets_a_message_and_one_that_keeps_gets_none() -> None:
    UserFactory.create().delete()
    assert topics() == sorted([PROFILE, EVENT, ACTIVITY])


def test_messages_hold_the_id_and_have_the_key_of_the_row() -> None:
    user = UserFactory.create()
    user_id = user.pk
    user.delete()
    found = set(Message.objects.using("users_db").values_list("key", "payload__id"))
    assert found == {(f"users.user {user_id}", user_id)} == {(key_of(User, user_id), user_id)}


@pytest.mark.django_db(databases=["users_db"], transaction=True)
def test_deletion_that_is_undone_leaves_no_message() -> None:
    user = UserFactory.create()
    with transaction.atomic(using="users_db"):
        user.delete()
        assert topics()
        transaction.set_rollback(True, using="users_db")
    assert topics() == []


def test_rows_are_deleted_set_to_null_or_kept_as_their_field_says() -> None:
    user, other = UserFactory.create_batch(2)
    for person in (user, other):
        UserProfileFactory.create(user_id=person.pk)
        PostFactory.create(author_id=person.pk)
        AnalyticsEvent.objects.create(event_type="x", user_id=person.pk)
        UserActivity.objects.create(user_id=person.pk, page_viewed="/")
    author_ids = [user.pk, other.pk]
    user.delete()
    assert UserProfile.objects.count() == 2
    drain()
    assert [profile.user_id for profile in UserProfile.objects.all()] == [other.pk]
    assert [activity.user_id for activity in UserActivity.objects.all()] == [other.pk]
    assert list(AnalyticsEvent.objects.order_by("pk").values_list("user_id", flat=True)) == [None, other.pk]
    assert list(Post.objects.order_by("pk").values_list("author_id", flat=True)) == author_ids


def test_more_rows_than_a_batch_holds_are_all_deleted() -> None:
    user = UserFactory.create()
    UserActivity.objects.bulk_create(UserActivity(user_id=user.pk, page_viewed="/") for _ in range(1201))
    user.delete()
    drain()
    assert not UserActivity.objects.exists()


def test_many_rows_that_are_deleted_at_once_are_all_followed() -> None:
    users = UserFactory.create_batch(3)
    for user in users:
        UserProfileFactory.create(user_id=user.pk)
    User.objects.all().delete()
    drain()
    assert not UserProfile.objects.exists()


def test_message_that_comes_twice_does_no_harm() -> None:
    user = UserFactory.create()
    UserProfileFactory.create(user_id=user.pk)
    user.delete()
    for _ in range(2):
        drain()
        Message.objects.using("users_db").update(done_at=None)
    assert not UserProfile.objects.exists()


def test_field_whose_topic_an_app_has_taken_gets_no_handler_of_its_own() -> None:
    handlers.clear()
    heard: list[Any] = []
    handler(tombstone(UserProfile, "user"), name="mine", destination=UserProfile)(heard.append)
    tombstones.connect()
    assert sorted(handlers) == sorted(["mine", EVENT, ACTIVITY])
    user = UserFactory.create()
    user_id = user.pk
    user.delete()
    drain()
    assert heard == [{"id": user_id}]


def stones(alias: str) -> list[tuple[str, str]]:
    return list(Tombstone.objects.using(alias).values_list("parent", "key"))


def test_each_database_that_is_told_keeps_one_tombstone_for_good(gone: int) -> None:
    drain()
    assert stones("default") == stones("analytics_db") == [("users.user", str(gone))]
    assert stones("users_db") == stones("cache_db") == []


def test_tombstone_and_effect_are_one_transaction(gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError

    monkeypatch.setattr(tombstones, "carry_out", fail)
    drain()
    assert stones("default") == stones("analytics_db") == []


def test_row_that_is_buried_twice_keeps_the_moment_of_the_first_time() -> None:
    bury(User, [1], using="default")
    at = Tombstone.objects.using("default").get().at
    bury(User, [1, 2], using="default")
    assert Tombstone.objects.using("default").get(key="1").at == at
    assert len(stones("default")) == 2


def test_buried_are_those_of_the_model_and_the_database_that_are_asked_for() -> None:
    bury(User, [1, 2], using="default")
    bury(Post, [3], using="default")
    assert buried(User, [1, 3, 4], using="default") == {1}
    assert buried(User, [1], using="analytics_db") == set()


def test_more_ids_than_a_statement_takes_are_all_looked_for() -> None:
    bury(User, range(1500), using="default")
    assert buried(User, range(1, 2500), using="default") == set(range(1, 1500))


def test_follow_buries_and_does_what_the_policy_says() -> None:
    field: Any = UserActivity._meta.get_field("user")
    UserActivity.objects.create(user_id=7, page_viewed="/")
    follow(field, [7], using="analytics_db")
    assert (UserActivity.objects.count(), stones("analytics_db")) == (0, [("users.user", "7")])


def test_field_that_is_none_has_no_topic() -> None:
    with pytest.raises(FieldDoesNotExist):
        tombstone(UserProfile, "owner")


def test_parent_on_a_database_without_an_outbox_cannot_be_deleted() -> None:
    field: Any = UserProfile._meta.get_field("user")
    with pytest.raises(NoOutbox, match="'legacy_db'"):
        tombstones.publish_tombstone(field=field, pk=1, using="legacy_db")


@pytest.fixture
def gone() -> int:
    user = UserFactory.create()
    user_id = user.pk
    user.delete()
    return user_id


def state_of(user_id: int) -> dict[str, str]:
    return progress(User, user_id, since=timezone.now() - timedelta(hours=1), using="users_db")


def set_fields(topic: str, **fields: Any) -> None:
    Message.objects.using("users_db").filter(topic=topic).update(**fields)


def test_progress_is_that_of_each_database(gone: int) -> None:
    assert state_of(gone) == {"default": "waiting", "analytics_db": "waiting"}
    set_fields(PROFILE, done_at=NOW)
    assert state_of(gone) == {"default": "done", "analytics_db": "waiting"}
    drain()
    assert state_of(gone) == {"default": "done", "analytics_db": "done"}


@pytest.mark.parametrize(
    ("fields", "state"),
    [({"attempts": 1}, "failing"), ({"dead_at": NOW}, "dead"), ({"dead_at": NOW, "done_at": NOW}, "discarded")],
    ids=["failing", "dead", "discarded"],
)
def test_progress_of_a_database_is_the_worst_of_its_handlers(gone: int, fields: dict[str, Any], state: str) -> None:
    set_fields(EVENT, done_at=NOW)
    set_fields(ACTIVITY, **fields)
    assert state_of(gone)["analytics_db"] == state


@pytest.mark.parametrize(
    ("earlier", "later", "state"),
    [
        ({"dead_at": NOW}, {}, "dead"),
        ({"attempts": 1}, {}, "failing"),
        ({"dead_at": NOW, "done_at": NOW}, {}, "waiting"),
        ({"dead_at": NOW, "done_at": NOW}, {"done_at": NOW}, "done"),
    ],
    ids=["behind a dead one", "behind a failing one", "behind a discarded one", "after a discarded one"],
)
def test_progress_minds_what_came_before_under_the_key(
    gone: int, earlier: dict[str, Any], later: dict[str, Any], state: str
) -> None:
    set_fields(PROFILE, **earlier)
    last = Message.objects.using("users_db").get(topic=PROFILE)
    handler_and_key = {name: getattr(last, name) for name in ("topic", "handler", "key", "payload")}
    Message.objects.using("users_db").create(**handler_and_key, **later)
    assert state_of(gone)["default"] == state


def test_progress_of_a_row_of_which_nothing_was_published_is_empty() -> None:
    assert state_of(404) == {}


@pytest.mark.parametrize("fields", [{}, {"attempts": 1}, {"dead_at": NOW}], ids=["waiting", "failing", "dead"])
def test_nothing_is_done_while_a_handler_that_is_in_no_code_has_not_done_its_part(
    gone: int, fields: dict[str, Any]
) -> None:
    set_fields(EVENT, done_at=NOW)
    set_fields(ACTIVITY, done_at=NOW)
    set_fields(PROFILE, **fields)
    handlers.pop(PROFILE)
    assert state_of(gone) == dict.fromkeys(["default", "users_db", "analytics_db", "cache_db"], "waiting")
    set_fields(PROFILE, done_at=NOW)
    assert state_of(gone) == {"analytics_db": "done"}


def test_what_waits_for_a_handler_that_is_in_no_code_hides_no_failure(gone: int) -> None:
    set_fields(EVENT, dead_at=NOW)
    handlers.pop(PROFILE)
    assert state_of(gone)["analytics_db"] == "dead"


def test_what_waits_of_somebody_else_for_a_handler_that_is_in_no_code_does_not_count(gone: int) -> None:
    UserFactory.create().delete()
    Message.objects.using("users_db").filter(key=key_of(User, gone)).update(done_at=NOW)
    handlers.pop(PROFILE)
    assert state_of(gone) == {"analytics_db": "done"}


def test_progress_takes_one_look_for_each_handler_however_much_waits(
    gone: int, django_assert_num_queries: Callable[..., Any]
) -> None:
    User.objects.bulk_create(UserFactory.build_batch(20))
    User.objects.all().delete()
    # Three handlers, that there is no fourth, and the messages.
    with django_assert_num_queries(5, using="users_db"):
        state_of(gone)
