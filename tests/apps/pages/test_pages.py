"""The pages that draw on several databases: each is asked once, whatever the number of rows."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent
from apps.blog.models import Comment, Post
from apps.cache.models import CacheEntry
from apps.cache.services import set_entry
from apps.demo.people import named_people
from apps.pages.selectors import FIGURES_KEY
from apps.pages.services import refresh_figures
from apps.users.models import User
from tests.apps.legacy.conftest import OldSystem
from tests.factories.blog import CommentFactory, PostFactory, UserProfileFactory
from tests.factories.users import UserFactory

PRIMARIES = ["default", "users_db", "analytics_db", "legacy_db", "cache_db"]
BACKEND = "django.contrib.auth.backends.ModelBackend"
on_every_database = pytest.mark.django_db(databases=PRIMARIES)


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """How many statements each alias was sent within the block; none is left out."""
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        captures = {alias: stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in PRIMARIES}
        yield counts
    counts |= {alias: len(queries) for alias, queries in captures.items() if len(queries)}


@pytest.fixture
def maya(client: Client) -> User:
    user = UserFactory.create(email="maya@example.com", email_confirmed_at=timezone.now())
    client.force_login(user, backend=BACKEND)
    return user


def give(user: User, *, rows: int) -> None:
    """So many posts with a comment each, events and orders."""
    old = OldSystem()
    old.customer(user.pk * 1000, "M. Lindqvist", customer_email="MAYA@example.com ")
    for number in range(rows):
        CommentFactory.create(post=PostFactory.create(author_id=user.pk))
        AnalyticsEvent.objects.create(event_type=f"kind {number % 3}", user_id=user.pk)
        old.order(user.pk * 1000 + number, user.pk * 1000, (2, "10.50"), (1, "4.00"), ord_dt="2026-01-02")


@on_every_database
@pytest.mark.parametrize("rows", [1, 30])
def test_dashboard_asks_each_database_once_whatever_the_number_of_rows(client: Client, maya: User, rows: int) -> None:
    give(maya, rows=rows)
    refresh_figures()
    with counted() as queries:
        response = client.get("/dashboard/")
    assert response.status_code == 200
    # On users_db it is the session and the user.
    assert queries == {"default": 1, "users_db": 2, "analytics_db": 1, "legacy_db": 1, "cache_db": 1}


@on_every_database
def test_dashboard_shows_what_each_database_knows(client: Client, maya: User) -> None:
    give(maya, rows=2)
    refresh_figures()
    response = client.get("/dashboard/")
    assert [post.comment_count for post in response.context["posts"]] == [1, 1]
    assert response.context["activity"] == {"kind 0": 1, "kind 1": 1}
    assert [order.total for order in response.context["purchases"]] == [25, 25]
    assert response.context["figures"].value["rows"]["posts"] == 2


@on_every_database
def test_dashboard_shows_nothing_of_somebody_else(client: Client, maya: User) -> None:
    PostFactory.create(author_id=maya.pk + 1)
    AnalyticsEvent.objects.create(event_type="login", user_id=maya.pk + 1)
    response = client.get("/dashboard/")
    assert response.context["posts"] == []
    assert response.context["activity"] == {}


@on_every_database
def test_purchases_need_a_confirmed_address_and_the_old_system_is_not_asked(client: Client, maya: User) -> None:
    give(maya, rows=1)
    User.objects.update(email_confirmed_at=None)
    with counted() as queries:
        response = client.get("/dashboard/")
    assert response.context["purchases"] == []
    assert "Confirm yours" in response.content.decode()
    assert "legacy_db" not in queries


@on_every_database
def test_dashboard_shows_the_rest_when_the_old_system_does_not_answer(client: Client, maya: User) -> None:
    PostFactory.create(author_id=maya.pk, title="Still here")

    def fail(execute, sql, params, many, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        raise OperationalError("server closed the connection unexpectedly")

    with connections["legacy_db"].execute_wrapper(fail):
        response = client.get("/dashboard/")
    assert response.status_code == 200
    assert response.context["purchases"] is None
    assert "did not answer" in response.content.decode()
    assert "Still here" in response.content.decode()


@on_every_database
def test_dashboard_does_not_hide_our_own_mistake_as_an_outage(client: Client, maya: User) -> None:
    def mistake(execute, sql, params, many, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return execute("SELECT * FROM nowhere", None, many, context)

    client.raise_request_exception = False
    with transaction.atomic(using="legacy_db"), connections["legacy_db"].execute_wrapper(mistake):
        response = client.get("/dashboard/")
        transaction.set_rollback(True, using="legacy_db")
    assert response.status_code == 500


@pytest.mark.django_db(databases=[])
def test_dashboard_is_for_the_signed_in(client: Client) -> None:
    assert client.get("/dashboard/")["Location"] == "/users/login/?next=/dashboard/"


@on_every_database
def test_dashboard_is_kept_by_no_shared_cache(client: Client, maya: User) -> None:
    assert "private" in client.get("/dashboard/")["Cache-Control"]


@on_every_database
def test_home_asks_the_blogs_database_alone(client: Client) -> None:
    for post in PostFactory.create_batch(7):
        UserProfileFactory.create(user_id=post.pk + 5000)
    with counted() as queries:
        response = client.get("/")
    assert queries == {"default": 2}
    assert len(response.context["posts"]) == 5


@pytest.mark.django_db(databases=["default"])
def test_home_names_every_alias_and_the_demo_logins(client: Client) -> None:
    page = client.get("/").content.decode()
    for alias in settings.DATABASES:
        assert f">{alias}</span>" in page
    assert "<code>maya</code>" in page


@pytest.mark.django_db(databases=["default"])
def test_home_of_a_production_site_shows_no_logins(client: Client, settings: object) -> None:
    settings.DEMO = False  # type: ignore[attr-defined]
    response = client.get("/")
    assert "<code>maya</code>" not in response.content.decode()
    assert response.context["logins"] == []


def test_people_of_the_demo_are_read_once_and_nobody_can_change_them() -> None:
    first = named_people()
    assert named_people() is first
    with pytest.raises(TypeError):
        first[0]["username"] = "somebody else"  # type: ignore[index]


@on_every_database
def test_figures_are_counted_each_on_its_own_database_and_cached() -> None:
    PostFactory.create()
    with counted() as queries:
        rows = refresh_figures()
    assert rows == {"posts": 1, "users": 0, "comments": 0, "analytics events": 0, "customers": 0}
    assert queries == {"default": 2, "users_db": 1, "analytics_db": 1, "legacy_db": 1, "cache_db": 1}
    assert CacheEntry.objects.using("cache_db").get().key == FIGURES_KEY


@on_every_database
def test_expired_figures_are_not_shown(client: Client, maya: User) -> None:
    set_entry(key=FIGURES_KEY, value={"rows": {"posts": 12345}}, timeout=60)
    CacheEntry.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "12345" not in client.get("/dashboard/").content.decode()


@on_every_database
def test_staff_may_have_the_figures_counted_again_by_post_only(client: Client, maya: User) -> None:
    assert client.post("/dashboard/count/").status_code == 302
    assert not CacheEntry.objects.exists()
    User.objects.update(is_staff=True)
    assert client.get("/dashboard/count/").status_code == 405
    assert client.post("/dashboard/count/", follow=True).status_code == 200
    assert CacheEntry.objects.filter(key=FIGURES_KEY).exists()


@pytest.mark.django_db(databases=["default"])
def test_rows_of_a_replica_alias_are_those_of_its_primary(replicas_share_primary: None) -> None:
    post = PostFactory.create()
    assert Post.objects.using("read_replica_1").get() == post
    assert Comment.objects.using("read_replica_1").count() == 0
