from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.users import selectors
from apps.users.models import User
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db"])


def joined(days_ago: int) -> User:
    user = UserFactory.create()
    User.objects.filter(pk=user.pk).update(created_at=timezone.now() - timedelta(days=days_ago))
    return user


def test_user_is_found_by_the_exact_username(user: User) -> None:
    assert selectors.user_by_username(user.username) == user
    assert selectors.user_by_username(user.username.upper()) is None


def test_inactive_user_is_not_found() -> None:
    assert selectors.user_by_username(UserFactory.create(is_active=False).username) is None


def test_name_with_a_nul_is_nobody_and_asks_no_database(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0, using="users_db"):
        assert selectors.user_by_username("a\x00b") is None


def test_users_of_the_last_days_are_listed_by_id_newest_first() -> None:
    joined(31)
    older, newer = joined(20), joined(2)
    assert selectors.users_joined_since(days=30) == [newer.pk, older.pk]


def test_list_of_new_users_has_a_limit() -> None:
    UserFactory.create_batch(3)
    assert len(selectors.users_joined_since(days=30, limit=2)) == 2


def test_inactive_users_are_not_listed() -> None:
    UserFactory.create(is_active=False)
    assert selectors.users_joined_since(days=30) == []
