"""What the admin does with a relation to another database: it lists, offers and finds rows of both."""

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory

from apps.blog.models import Comment, Post, UserProfile
from apps.users.admin import UserAdmin
from apps.users.models import User
from routers.admin import MultiDBAdminSite, MultiDBModelAdmin
from routers.relations import CrossDatabaseJoin
from tests.apps.lookups import aliases, statements
from tests.factories.blog import CommentFactory, PostFactory, UserProfileFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db"])


class OfPosts(MultiDBModelAdmin):
    list_display = ("title", "author")
    autocomplete_fields = ("author",)


class OfComments(MultiDBModelAdmin):
    list_display = ("post", "author")
    raw_id_fields = ("author",)


@pytest.fixture
def site() -> MultiDBAdminSite:
    site = MultiDBAdminSite()
    site.register(User, UserAdmin)
    site.register(Post, OfPosts)
    site.register(Comment, OfComments)
    site.register(UserProfile, list_display=("user",))
    return site


@pytest.fixture
def request_(rf: RequestFactory) -> HttpRequest:
    request = rf.get("/")
    request.user = UserFactory.create(is_superuser=True, is_staff=True)
    return request


def admin_of(site: MultiDBAdminSite, model: Any) -> Any:
    return site.get_model_admin(model)


@pytest.mark.parametrize("model", [Post, Comment, UserProfile])
def test_list_prefetches_what_it_may_not_join(model: Any, site: MultiDBAdminSite, request_: HttpRequest) -> None:
    for user in UserFactory.create_batch(3):
        UserProfileFactory.create(user_id=user.pk)
        CommentFactory.create(author_id=user.pk, post__author_id=user.pk)
    with statements() as sent:
        rows = admin_of(site, model).get_changelist_instance(request_).result_list
        names = {(row.user if model is UserProfile else row.author).username for row in rows}
        titles = {row.post.title for row in rows} if model is Comment else ()
    assert len(names) == 3
    assert len(titles) in (0, 3)
    assert aliases(sent).count("users_db") == 1
    assert sum("SELECT" in sql and "COUNT" not in sql for alias, sql in sent if alias == "default") == 1


def test_list_that_asks_for_the_join_is_refused(site: MultiDBAdminSite, request_: HttpRequest) -> None:
    class Joining(OfComments):
        list_select_related = ("post__author",)

    CommentFactory.create()
    site.unregister(Comment)
    site.register(Comment, Joining)
    with pytest.raises(CrossDatabaseJoin):
        list(admin_of(site, Comment).get_changelist_instance(request_).result_list)


def test_list_is_sorted_by_the_id(site: MultiDBAdminSite, rf: RequestFactory, request_: HttpRequest) -> None:
    second, first = PostFactory.create(author_id=2), PostFactory.create(author_id=1)
    request = rf.get("/", {"o": "2"})
    request.user = request_.user
    changelist = admin_of(site, Post).get_changelist_instance(request)
    assert list(changelist.result_list) == [first, second]
    assert changelist.get_ordering(request, changelist.root_queryset)[0] == "author_id"


def test_filter_offers_users_of_users_db(site: MultiDBAdminSite, rf: RequestFactory, request_: HttpRequest) -> None:
    class Filtering(OfPosts):
        list_filter = ("author",)

    site.unregister(Post)
    site.register(Post, Filtering)
    ada, _ = UserFactory.create(username="ada"), PostFactory.create()
    post = PostFactory.create(author_id=ada.pk)
    request = rf.get("/", {"author__id__exact": ada.pk})
    request.user = request_.user
    changelist = admin_of(site, Post).get_changelist_instance(request)
    assert (ada.pk, "ada") in changelist.filter_specs[0].lookup_choices
    assert list(changelist.result_list) == [post]


@pytest.mark.parametrize("model", [Post, Comment])
def test_form_chooses_among_the_users_of_users_db(model: Any, site: MultiDBAdminSite, request_: HttpRequest) -> None:
    ada = UserFactory.create(username="ada")
    form = admin_of(site, model).get_form(request_)(initial={"author": ada.pk})
    assert form.fields["author"].queryset.db == "users_db"
    with statements() as sent:
        assert "ada" in str(form["author"])
    assert aliases(sent) == ["users_db"]


def test_autocomplete_finds_users_in_users_db(
    site: MultiDBAdminSite, rf: RequestFactory, request_: HttpRequest
) -> None:
    UserFactory.create(username="ada")
    query = {"app_label": "blog", "model_name": "post", "field_name": "author", "term": "ad"}
    request = rf.get("/", query)
    request.user = request_.user
    with statements() as sent:
        assert b'"text": "ada"' in site.autocomplete_view(request).content
    assert set(aliases(sent)) == {"users_db"}


@pytest.mark.parametrize(
    ("model", "lookup", "allowed"),
    [
        (User, "posts__id", False),
        (User, "posts__isnull", False),
        (User, "profile__user", False),
        (User, "groups__user__posts", False),
        (User, "is_active__exact", True),
        (User, "groups__id__exact", True),
        (User, "groups", True),
        (User, "no_field", True),
        (Post, "author__username", False),
        (Post, "author__groups__id", False),
        (Post, "author__id__exact", True),
        (Post, "author__pk__in", True),
        (Post, "author_id", True),
        (Post, "author__isnull", True),
        (Post, "author", True),
    ],
)
def test_lookup_in_the_address_is_allowed_unless_it_joins_databases(
    model: Any, lookup: str, allowed: bool, site: MultiDBAdminSite, request_: HttpRequest
) -> None:
    class Filtering(MultiDBModelAdmin):
        list_filter = ("posts__id", "posts", "groups__user__posts", "author__username", "author__groups")

    assert Filtering(model, site).lookup_allowed(lookup, "1", request_) is allowed


def test_address_that_would_join_databases_is_a_bad_request(client: Client) -> None:
    root = UserFactory.create(is_superuser=True, is_staff=True)
    client.force_login(root, "django.contrib.auth.backends.ModelBackend")
    assert client.get("/admin/users/user/", {"posts__id": 1}).status_code == 400
