import pytest
from pytest_django import DjangoAssertNumQueries

from apps.blog.models import Comment, Post, UserProfile
from apps.users.signals import user_deleted, user_saved
from tests.factories.blog import CommentFactory, UserProfileFactory

pytestmark = pytest.mark.django_db(databases=["default"])

PERSON = {"user_id": 7, "username": "maya", "display_name": "Maya Lindqvist", "bio": "Writes."}


def test_saved_user_gets_a_profile_in_the_blog() -> None:
    user_saved.send(sender=None, **PERSON)
    assert UserProfile.objects.values("user_id", "username", "display_name", "bio").get() == PERSON


def test_user_saved_again_changes_the_one_profile() -> None:
    user_saved.send(sender=None, **PERSON)
    before = UserProfile.objects.get().updated_at
    user_saved.send(sender=None, **(PERSON | {"username": "mlin", "bio": ""}))
    profile = UserProfile.objects.get()
    assert (profile.username, profile.bio) == ("mlin", "")
    assert profile.updated_at > before


def test_deleted_user_loses_the_profile_and_their_writing_stays() -> None:
    UserProfileFactory.create(user_id=7)
    UserProfileFactory.create(user_id=8)
    comment = CommentFactory.create(author_id=7, post__author_id=7)
    user_deleted.send(sender=None, user_id=7)
    assert list(UserProfile.objects.values_list("user_id", flat=True)) == [8]
    assert Post.objects.filter(pk=comment.post_id).exists()
    assert Comment.objects.filter(pk=comment.pk).exists()


def test_deleting_a_user_whom_the_blog_does_not_know_is_no_error() -> None:
    user_deleted.send(sender=None, user_id=404)


def test_a_profile_is_written_in_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1, using="default"):
        user_saved.send(sender=None, **PERSON)
