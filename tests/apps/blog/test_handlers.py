"""The blog's copies of its authors, as messages bring them."""

import pytest
from django.db import transaction
from pytest_django import DjangoAssertNumQueries

from apps.blog.handlers import copy_profile
from apps.blog.models import Comment, Post, UserProfile
from apps.outbox.models import Message
from apps.outbox.relay import Relay
from apps.outbox.tombstones import buried, bury
from apps.users import services
from apps.users.models import User
from tests.factories.blog import CommentFactory, UserProfileFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])


def drain() -> None:
    assert not Relay("users_db").drain().failed


def change(user: User, **fields: str) -> None:
    profile = {"first_name": "", "last_name": "", "bio": "", "email": user.email}
    services.update_profile(user=user, **(profile | fields))


def announce(user: User) -> None:
    with transaction.atomic(using="users_db"):
        services.announce_saved(user)


def test_new_user_gets_a_profile_in_the_blog() -> None:
    user = services.create_user_with_profile(username="maya", email="maya@example.com", password="secret")
    assert not UserProfile.objects.exists()
    drain()
    assert UserProfile.objects.values("user_id", "username", "display_name", "bio").get() == user.public_data


def test_changed_user_changes_the_one_profile() -> None:
    user = UserFactory.create()
    UserProfileFactory.create(user_id=user.pk)
    before = UserProfile.objects.get().updated_at
    change(user, first_name="Maya", last_name="Lindqvist", bio="Writes.")
    drain()
    profile = UserProfile.objects.get()
    assert (profile.display_name, profile.bio) == ("Maya Lindqvist", "Writes.")
    assert profile.updated_at > before


def test_older_message_that_comes_again_does_not_overwrite_a_newer_copy() -> None:
    user = UserFactory.create()
    for bio in ("Old.", "New."):
        change(user, bio=bio)
    drain()
    copy_profile([{"id": user.pk}])
    assert UserProfile.objects.get().bio == "New."


def test_deleted_user_loses_the_profile_and_their_writing_stays() -> None:
    user = UserFactory.create()
    UserProfileFactory.create(user_id=user.pk)
    stranger = UserProfileFactory.create()
    comment = CommentFactory.create(author_id=user.pk, post__author_id=user.pk)
    services.delete_user(user=user)
    drain()
    assert list(UserProfile.objects.all()) == [stranger]
    assert Post.objects.get().author_id == Comment.objects.get().author_id == comment.author_id


def test_copy_does_not_come_back_after_the_deletion() -> None:
    user = UserFactory.create()
    announce(user)
    services.delete_user(user=user)
    drain()
    assert not UserProfile.objects.exists()


def test_who_was_deleted_and_is_back_gets_no_copy_and_loses_the_one_that_is_there() -> None:
    user = UserFactory.create()
    UserProfileFactory.create(user_id=user.pk)
    bury(User, [user.pk], using="default")
    announce(user)
    drain()
    assert not UserProfile.objects.exists()


def test_deleted_user_is_buried_in_the_blogs_database() -> None:
    user, stays = UserFactory.create_batch(2)
    user_ids = [user.pk, stays.pk]
    announce(stays)
    services.delete_user(user=user)
    drain()
    assert buried(User, user_ids, using="default") == {user_ids[0]}


def test_what_is_saved_and_what_is_deleted_wait_for_each_other() -> None:
    user = UserFactory.create()
    announce(user)
    services.delete_user(user=user)
    messages = Message.objects.using("users_db").filter(handler="blog.copy_profile")
    assert messages.count() == 2
    assert len({message.key for message in messages}) == 1


def test_deleting_a_user_whom_the_blog_does_not_know_is_no_error() -> None:
    services.delete_user(user=UserFactory.create())
    drain()


def test_many_profiles_take_one_query_to_each_database(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    payloads = [{"id": user.pk} for user in UserFactory.create_batch(20)]
    with django_assert_num_queries(1, using="users_db"):
        copy_profile(payloads)
    assert UserProfile.objects.count() == 20
