"""What analytics makes of people who come and go."""

from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoAssertNumQueries

from apps.analytics.handlers import store_events
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.outbox.models import Message
from apps.outbox.relay import Relay
from apps.outbox.tombstones import bury
from apps.users import services
from apps.users.models import User
from tests.factories.analytics import EventFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])


@pytest.fixture
def ada() -> User:
    return services.create_user_with_profile(username="ada", email="ada@example.com", password="secret")


def drain() -> None:
    assert not Relay("users_db").drain().failed


def events() -> list[dict[str, Any]]:
    return [dict(row) for row in AnalyticsEvent.objects.order_by("pk").values("event_type", "user_id")]


def test_sign_up_is_recorded_with_the_time_at_which_it_was_and_not_at_which_it_came(ada: User) -> None:
    assert events() == []
    drain()
    assert events() == [{"event_type": "sign_up", "user_id": ada.pk}]
    assert AnalyticsEvent.objects.get().timestamp == ada.created_at


def test_changed_profile_is_no_sign_up(ada: User) -> None:
    services.update_profile(user=ada, first_name="Ada", last_name="", bio="", email=ada.email)
    drain()
    assert len(events()) == 1


def test_deleted_user_loses_their_activity_and_their_events_are_nobodys() -> None:
    user, other = UserFactory.create_batch(2)
    for person in (user, other):
        EventFactory.create(user_id=person.pk)
        UserActivity.objects.create(user_id=person.pk, page_viewed="/")
    services.delete_user(user=user)
    drain()
    assert [event["user_id"] for event in events()] == [None, other.pk]
    assert [activity.user_id for activity in UserActivity.objects.all()] == [other.pk]


def test_sign_up_of_somebody_who_is_gone_before_it_arrives_is_counted_and_is_nobodys(ada: User) -> None:
    services.delete_user(user=ada)
    drain()
    assert events() == [{"event_type": "sign_up", "user_id": None}]


def test_sign_up_and_deletion_wait_for_each_other(ada: User) -> None:
    services.delete_user(user=ada)
    messages = Message.objects.using("users_db").filter(handler="analytics.record_sign_up").order_by("pk")
    assert [sorted(message.payload) for message in messages] == [["at", "id"], ["id"]]
    assert len({message.key for message in messages}) == 1


def page_view(user_id: int | None) -> dict[str, Any]:
    return {
        "event_type": "page_view", "user_id": user_id, "session_id": "", "data": {"path": "/"},
        "timestamp": "2026-11-20T03:00:00+00:00",
    }  # fmt: skip


def test_page_view_that_comes_after_its_visitor_is_gone_is_nobodys_and_no_activity() -> None:
    user, other = UserFactory.create_batch(2)
    views = [page_view(user.pk), page_view(other.pk), page_view(None)]
    services.delete_user(user=user)
    drain()
    store_events(views)
    assert [event["user_id"] for event in events()] == [None, other.pk, None]
    assert [activity.user_id for activity in UserActivity.objects.all()] == [other.pk]


def test_who_is_gone_is_asked_for_once_in_a_batch(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    bury(User, [1], using="analytics_db")
    # One more where a message and a deletion would not see each other.
    locks = connections["analytics_db"].vendor == "postgresql"
    with django_assert_num_queries(3 + locks, using="analytics_db"):
        store_events([page_view(user_id) for user_id in range(1, 50)])
