"""An account over all databases, from the sign-up to the deletion, with the relay in between."""

import json
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.blog.models import Comment, Post, UserProfile
from apps.cache.models import CacheEntry
from apps.outbox.models import Message
from apps.outbox.relay import Relay
from apps.users.models import User
from tests.apps.legacy.conftest import OldSystem
from tests.factories.blog import CommentFactory
from tests.factories.cache import CacheEntryFactory
from tests.factories.users import PASSWORD

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "legacy_db", "cache_db"])

NAME = "ada-who-goes"
ADA = {"username": NAME, "email": "ada@example.com", "password1": PASSWORD, "password2": PASSWORD}


def drain() -> list[str]:
    """Returns the ways on which a database did not answer."""
    return Relay("users_db").drain().unavailable


@pytest.fixture
def ada(client: Client) -> User:
    """Signed up, signed in, and what she left everywhere."""
    client.post("/users/signup/", ADA)
    user = User.objects.get()
    User.objects.update(email_confirmed_at=timezone.now())
    comment = CommentFactory.create(author_id=user.pk, post__author_id=user.pk, content="Hers.")
    assert comment.post.author_id == user.pk
    UserActivity.objects.create(user_id=user.pk, page_viewed="/blog/")
    CacheEntryFactory.create(key=f"user:{user.pk}")
    OldSystem().customer(1, "ADA", customer_email="ADA@EXAMPLE.COM")
    OldSystem().order(7, 1, (1, "2.50"))
    drain()
    return user


def test_new_user_has_one_profile_and_one_sign_up_once_the_relay_has_come_by(client: Client) -> None:
    response = client.post("/users/signup/", ADA, follow=True)
    assert response.context["user"].username == NAME
    user_id = User.objects.get().pk
    assert not UserProfile.objects.exists()
    drain()
    assert UserProfile.objects.get().user_id == user_id
    assert AnalyticsEvent.objects.get(event_type="sign_up").user_id == user_id


# Whoever asks one of the others has the test fail.
@pytest.mark.django_db(databases=["users_db", "cache_db"])
def test_sign_up_asks_neither_the_blog_nor_analytics(client: Client) -> None:
    response = client.post("/users/signup/", ADA, follow=True)
    assert response.context["user"].username == NAME
    assert client.get("/users/account/").status_code == 200
    assert set(Message.objects.using("users_db").values_list("handler", flat=True)) == {
        "blog.copy_profile",
        "analytics.record_sign_up",
    }


@pytest.mark.parametrize(
    "page",
    ["/users/account/", "/users/ada-who-goes/", "/users/edit/", "/dashboard/", "/blog/", "/blog/mine/", "/blog/write/"],
)
def test_own_pages_work_before_the_relay_has_come_by(client: Client, page: str) -> None:
    client.post("/users/signup/", ADA)
    assert client.get(page).status_code == 200
    assert not UserProfile.objects.exists()


def test_post_that_is_written_before_the_relay_has_come_by_has_its_author_afterwards(client: Client) -> None:
    client.post("/users/signup/", ADA)
    client.post("/blog/write/", {"title": "First", "content": "Text", "status": "published"})
    post = Post.objects.get()
    assert client.get(post.get_absolute_url()).status_code == 200
    drain()
    assert ">ada-who-goes</a>" in client.get(post.get_absolute_url()).content.decode()


def test_changed_profile_is_in_the_blog_once_the_relay_has_come_by(client: Client, ada: User) -> None:
    client.post("/users/edit/", {"first_name": "Ada", "last_name": "Lovelace", "bio": "Counts.", "email": ada.email})
    drain()
    profile = UserProfile.objects.get()
    assert (profile.display_name, profile.bio) == ("Ada Lovelace", "Counts.")


def test_download_holds_what_each_database_holds(client: Client, ada: User) -> None:
    found = json.loads(client.get("/users/account/data/").getvalue())
    sections = found["databases"]
    assert found["incomplete"] == []
    assert sections["default"]["profile"][0]["username"] == NAME
    assert sections["default"]["comments"][0]["content"] == "Hers."
    assert len(sections["default"]["posts"]) == 1
    assert sections["analytics_db"]["activity"][0]["page_viewed"] == "/blog/"
    assert sections["analytics_db"]["events"][0]["event_type"] == "sign_up"
    assert sections["legacy_db"]["orders"][0]["number"] == 7
    assert sections["cache_db"]["cached figures"][0]["key"] == f"user:{ada.pk}"


def test_download_holds_nothing_of_the_old_system_while_the_address_may_be_somebody_elses(
    client: Client, ada: User
) -> None:
    User.objects.update(email_confirmed_at=None)
    found = json.loads(client.get("/users/account/data/").getvalue())
    assert found["databases"]["legacy_db"]["orders"] == []


def test_deleted_account_is_gone_everywhere_but_from_the_old_system(client: Client, ada: User) -> None:
    user_id = ada.pk
    client.post("/users/delete/", {"password": PASSWORD})
    drain()
    assert not User.objects.exists()
    assert not UserProfile.objects.exists()
    assert not UserActivity.objects.exists()
    assert not CacheEntry.objects.filter(key=f"user:{user_id}").exists()
    assert set(AnalyticsEvent.objects.values_list("user_id", flat=True)) == {None}
    assert Comment.objects.get().content == "Hers."
    assert OldSystem().execute("SELECT count(*) FROM ord_hdr")[0][0] == 1
    for alias in ("default", "users_db", "analytics_db", "cache_db"):
        for trace in (NAME, "ada@example.com"):
            assert trace not in everything_on(alias)


def test_writing_of_a_deleted_account_is_shown_as_a_deleted_users(client: Client, ada: User) -> None:
    client.post("/users/delete/", {"password": PASSWORD})
    drain()
    text = client.get(Post.objects.get().get_absolute_url()).content.decode()
    assert "Deleted user" in text
    assert "Hers." in text
    assert NAME not in text.partition("<main")[2].partition("</main>")[0]


def test_page_of_the_deletion_follows_the_relay(client: Client, ada: User) -> None:
    page = client.post("/users/delete/", {"password": PASSWORD}).headers["Location"]
    response = client.get(page)
    assert states(response) == {
        "default": "waiting", "users_db": "done", "analytics_db": "waiting", "legacy_db": "kept", "cache_db": "waiting",
    }  # fmt: skip
    assert "Refresh" in response.headers
    drain()
    response = client.get(page)
    assert set(states(response).values()) == {"done", "kept"}
    assert "Refresh" not in response.headers


@pytest.mark.sqlite("analytics_db")
def test_database_that_is_down_is_waited_for_and_the_others_are_done(client: Client, ada: User) -> None:
    with connections["analytics_db"].cursor() as cursor:
        cursor.execute("ALTER TABLE user_activity RENAME TO gone")
    page = client.post("/users/delete/", {"password": PASSWORD}).headers["Location"]
    drain()
    found = states(client.get(page))
    assert (found["default"], found["cache_db"], found["analytics_db"]) == ("done", "done", "failing")
    with connections["analytics_db"].cursor() as cursor:
        cursor.execute("ALTER TABLE gone RENAME TO user_activity")
    Message.objects.using("users_db").update(due_at=None)
    drain()
    assert states(client.get(page))["analytics_db"] == "done"
    assert not UserActivity.objects.exists()


def states(response: Any) -> dict[str, str]:
    return {step.alias: step.state for step in response.context["steps"]}


def everything_on(alias: str) -> str:
    """Every text in every table of ours, sessions and the admin's own tables included."""
    connection, found = connections[alias], []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(found)
