"""What the apps' admins do beyond the pages that every model has."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent
from apps.blog.admin import PostAdmin
from apps.blog.forms import MAX_CONTENT_LENGTH
from apps.blog.models import Comment, Post, UserProfile
from apps.blog.services import RESERVED_SLUGS
from apps.outbox.relay import Relay
from apps.users.models import User
from routers.transactions import atomic_for
from tests.apps.admin.conftest import SignIn, form_data, queries
from tests.apps.legacy.conftest import OldSystem
from tests.factories.blog import CommentFactory, PostFactory, TagFactory, UserProfileFactory
from tests.factories.users import UserFactory

blog = pytest.mark.django_db(databases=["default", "users_db"])
legacy = pytest.mark.django_db(databases=["legacy_db", "users_db"])
people = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])
POSTS = "/admin/blog/post/"
NEW_PASSWORD = {"password1": "another horse entirely", "password2": "another horse entirely"}


@blog
def test_log_waits_for_the_commit_of_the_row(root: Client, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(using="default") as callbacks:
        root.post("/admin/blog/tag/add/", {"name": "new", "slug": "new"})
        assert not LogEntry.objects.exists()
    for callback in callbacks:
        callback()
    assert LogEntry.objects.get().object_repr == "new"


@blog
def test_log_in_the_same_database_is_part_of_the_transaction(
    root: Client, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(using="users_db"):
        root.post("/admin/auth/group/add/", {"name": "new"})
        assert LogEntry.objects.get().object_repr == "new"


@blog
def test_save_that_is_rolled_back_leaves_neither_row_nor_log(
    root: Client, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def fail(self: Any, request: Any, form: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no disk")

    UserFactory.create(pk=1000)
    monkeypatch.setattr(PostAdmin, "construct_change_message", fail)
    data = form_data(root.get(f"{POSTS}add/")) | {"title": "A", "slug": "a", "author": 1000, "content": "x"}
    with (
        django_capture_on_commit_callbacks(using="default", execute=True),
        pytest.raises(RuntimeError, match="no disk"),
    ):
        root.post(f"{POSTS}add/", data)
    assert not Post.objects.exists()
    assert not LogEntry.objects.exists()


@blog
def test_action_that_fails_deletes_nothing_and_logs_nothing(
    root: Client, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no disk")

    post = PostFactory.create()
    monkeypatch.setattr(PostAdmin, "message_user", fail)
    data = {"action": "delete_selected", "_selected_action": [post.pk], "post": "yes"}
    with (
        django_capture_on_commit_callbacks(using="default", execute=True),
        pytest.raises(RuntimeError, match="no disk"),
    ):
        root.post(POSTS, data)
    assert Post.objects.filter(pk=post.pk).exists()
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(databases=["default", "users_db"], transaction=True)
def test_log_is_there_after_a_real_commit(replicas_share_primary: None, root: Client) -> None:
    post = PostFactory.create(title="Gone")
    CommentFactory.create(post=post)
    root.post(f"{POSTS}{post.pk}/delete/", {"post": "yes"})
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr, entry.is_deletion()) == (str(post.pk), "Gone", True)
    assert not Comment.objects.exists()


@blog
def test_edit_asks_its_database_and_that_of_the_session_only(root: Client) -> None:
    tag = TagFactory.create()
    with queries("default", "users_db") as asked:
        root.post(f"/admin/blog/tag/{tag.pk}/change/", {"name": "changed", "slug": "changed"})
    assert any('UPDATE "blog_tag"' in query["sql"] for query in asked["default"])
    assert not any("blog_" in query["sql"] for query in asked["users_db"])


@blog
def test_delete_confirmation_counts_and_links_what_goes_along(root: Client) -> None:
    post = PostFactory.create()
    comments = CommentFactory.create_batch(2, post=post)
    page = root.get(f"{POSTS}{post.pk}/delete/")
    assert dict(page.context["model_count"]) == {"posts": 1, "comments": 2}
    assert f"/admin/blog/comment/{comments[0].pk}/change/" in page.content.decode()


@blog
def test_delete_confirmation_names_the_permission_that_lacks(sign_in: SignIn) -> None:
    post = CommentFactory.create().post
    client = sign_in("blog.view_post", "blog.delete_post")
    assert "comment" in client.get(f"{POSTS}{post.pk}/delete/").context["perms_lacking"]
    assert client.post(f"{POSTS}{post.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Post.objects.filter(pk=post.pk).exists()


@blog
def test_list_of_posts_names_authors_in_the_same_number_of_queries_whatever_their_number(root: Client) -> None:
    counts = []
    for n in (1, 20):
        for i in range(n):
            PostFactory.create(author_id=UserProfileFactory.create(user_id=100 * n + i).user_id)
        with queries("default") as asked:
            page = root.get(POSTS)
        counts.append(len(asked["default"]))
    assert counts[0] == counts[1]
    assert UserProfile.objects.all()[0].display_name in page.content.decode()


@blog
def test_post_of_a_deleted_user_can_still_be_edited(root: Client) -> None:
    post = PostFactory.create(author_id=404)
    url = f"{POSTS}{post.pk}/change/"
    page = root.get(url)
    assert "a deleted user" in page.content.decode()
    root.post(url, form_data(page) | {"title": "Changed"})
    assert Post.objects.get(pk=post.pk).title == "Changed"


@blog
def test_author_who_is_not_in_users_db_is_refused(root: Client) -> None:
    data = form_data(root.get(f"{POSTS}add/")) | {"title": "A", "slug": "a", "author": 404, "content": "x"}
    assert "Select a valid choice" in str(root.post(f"{POSTS}add/", data).context["errors"])


@blog
def test_saved_post_is_rendered_and_dated_when_it_is_published(root: Client) -> None:
    post = PostFactory.create(draft=True)
    url = f"{POSTS}{post.pk}/change/"
    root.post(url, form_data(root.get(url)) | {"content": "*new*", "status": "published"})
    post.refresh_from_db()
    assert post.content_html == "<p><em>new</em></p>\n"
    assert post.published_at <= timezone.now()


@blog
def test_tags_and_comments_of_a_post_are_saved_with_it(root: Client) -> None:
    UserFactory.create(pk=1000)
    post, tag = PostFactory.create(), TagFactory.create()
    CommentFactory.create(post=post, content="old")
    url = f"{POSTS}{post.pk}/change/"
    more = {
        "tags": [tag.pk],
        "comments-TOTAL_FORMS": 2,
        "comments-0-DELETE": "on",
        "comments-1-author": 1000,
        "comments-1-content": "new",
    }
    root.post(url, form_data(root.get(url)) | more)
    assert list(post.tags.all()) == [tag]
    assert [comment.content for comment in post.comments.all()] == ["new"]


@blog
def test_autocomplete_offers_rows_of_the_models_database(root: Client) -> None:
    TagFactory.create(name="sharding")
    query = {"app_label": "blog", "model_name": "post", "field_name": "tags", "term": "shard"}
    with queries("default") as asked:
        results = root.get("/admin/autocomplete/", query).json()["results"]
    assert [result["text"] for result in results] == ["sharding"]
    assert asked["default"].captured_queries


@blog
def test_taken_slug_is_a_form_error(root: Client) -> None:
    TagFactory.create(name="taken", slug="taken")
    page = root.post("/admin/blog/tag/add/", {"name": "taken", "slug": "taken"})
    assert page.context["adminform"].form.errors.keys() == {"name", "slug"}


@blog
def test_view_on_site_leads_to_the_post(root: Client) -> None:
    post = PostFactory.create()
    link = reverse("admin:blog_post_change", args=[post.pk])
    target = root.get(root.get(link).context["absolute_url"])
    assert target.status_code == 302
    assert target["Location"].endswith(post.get_absolute_url())


@blog
def test_staff_without_permissions_see_nothing(sign_in: SignIn) -> None:
    client = sign_in()
    assert client.get("/admin/").context["app_list"] == []
    assert client.get(POSTS).status_code == 403
    assert client.get(f"{POSTS}{PostFactory.create().pk}/change/").status_code == 403


@legacy
def test_staff_who_may_view_orders_do(sign_in: SignIn) -> None:
    assert sign_in("legacy.view_legacyorder").get("/admin/legacy/legacyorder/").status_code == 200


@legacy
def test_order_shows_its_lines_though_their_key_is_composite(root: Client) -> None:
    old = OldSystem()
    old.order(9, 404)
    old.insert("ord_line", ord_no=9, line_no=1, item_cd="A-1", item_desc="A red bicycle", qty=2, unit_prc="99.50")
    old.insert("ord_line", ord_no=9, line_no=2, item_cd="B-1", item_desc="A green bell", qty=1, unit_prc="4.25")
    old.insert("ord_line", ord_no=8, line_no=1, item_cd="C-1", item_desc="of another order", qty=1, unit_prc="4.25")
    page = root.get("/admin/legacy/legacyorder/9/change/").content.decode()
    assert "A red bicycle" in page
    assert "A green bell" in page
    assert "99.50" in page
    assert "of another order" not in page


@pytest.mark.django_db(databases=["analytics_db", "users_db"])
def test_list_of_events_counts_them_once(root: Client) -> None:
    AnalyticsEvent.objects.create(event_type="view")
    with queries("analytics_db") as asked:
        root.get("/admin/analytics/analyticsevent/")
    assert sum("COUNT(*)" in query["sql"] for query in asked["analytics_db"]) == 1


@people
def test_saved_person_is_announced_to_the_blog(root: Client) -> None:
    user = UserFactory.create(username="ada")
    url = f"/admin/users/user/{user.pk}/change/"
    root.post(url, form_data(root.get(url)) | {"first_name": "Ada", "bio": "Counts."})
    Relay("users_db").drain()
    profile = UserProfile.objects.get(user_id=user.pk)
    assert (profile.username, profile.display_name, profile.bio) == ("ada", "Ada", "Counts.")


@people
@pytest.mark.parametrize("selected", [True, False])
def test_deleted_person_is_announced_to_the_blog(selected: bool, root: Client) -> None:
    user = UserFactory.create()
    UserProfileFactory.create(user_id=user.pk)
    if selected:
        data = {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}
        root.post("/admin/users/user/", data)
    else:
        root.post(f"/admin/users/user/{user.pk}/delete/", {"post": "yes"})
    Relay("users_db").drain()
    assert not User.objects.filter(pk=user.pk).exists()
    assert not UserProfile.objects.exists()


@people
def test_new_address_is_unconfirmed_until_its_owner_confirms_it(root: Client) -> None:
    user = UserFactory.create()
    url = f"/admin/users/user/{user.pk}/change/"
    root.post(url, form_data(root.get(url)) | {"bio": "Same address."})
    assert User.objects.get(pk=user.pk).email_confirmed_at
    root.post(url, form_data(root.get(url)) | {"email": "Other@Example.com"})
    user = User.objects.get(pk=user.pk)
    assert (user.email, user.email_confirmed_at) == ("other@example.com", None)


@people
def test_password_form_sets_a_password(root: Client) -> None:
    user = UserFactory.create()
    data = {"password1": "a new horse 1", "password2": "a new horse 1", "set-password": "1"}
    assert root.post(f"/admin/users/user/{user.pk}/password/", data).status_code == 302
    assert User.objects.get(pk=user.pk).check_password("a new horse 1")


@people
def test_groups_of_a_person_come_from_users_db(root: Client) -> None:
    group = Group.objects.create(name="editors")
    user = UserFactory.create()
    url = f"/admin/users/user/{user.pk}/change/"
    page = root.get(url)
    assert page.context["adminform"].form.fields["groups"].queryset.db == "users_db"
    root.post(url, form_data(page) | {"groups": [group.pk]})
    assert list(user.groups.all()) == [group]


@blog
def test_pages_carry_the_strict_policy_and_no_inline_script(root: Client) -> None:
    page = root.get(f"{POSTS}add/")
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert "<style" not in page.content.decode()
    assert "onclick" not in page.content.decode()
    assert "Multi-Database Django" in page.content.decode()


@pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "legacy_db"])
@pytest.mark.parametrize("text", ["\x00", "9" * 30, "é" * 3000])
def test_odd_input_is_no_server_error(text: str, root: Client) -> None:
    for page in ("blog/post", "users/user", "analytics/analyticsevent", "legacy/legacyorder"):
        assert root.get(f"/admin/{page}/", {"q": text}).status_code == 200
    assert root.get(f"{POSTS}{'9' * 30}/change/").status_code == 302
    assert root.get(f"{POSTS}%00/change/").status_code == 302


@people
def test_every_page_of_a_person_says_which_alias_it_shows(root: Client) -> None:
    user = UserFactory.create()
    for pattern in admin.site.get_model_admin(User).get_urls():
        page = root.get(f"/admin/users/user/{re.sub('<.*>', str(user.pk), str(pattern.pattern))}", follow=True)
        assert page.status_code == 200
        assert page.context["database_alias"] == "users_db", pattern
        assert '">users_db</span>' in page.content.decode()


@people
def test_password_set_in_the_admin_is_set_and_logged(root: Client) -> None:
    user = UserFactory.create()
    new = NEW_PASSWORD | {"usable_password": "true"}
    assert root.post(f"/admin/users/user/{user.pk}/password/", new).status_code == 302
    user.refresh_from_db()
    assert user.check_password(NEW_PASSWORD["password1"])
    assert LogEntry.objects.get().object_id == str(user.pk)


@people
def test_reserved_username_is_refused_for_old_and_new_people(root: Client) -> None:
    new = {"username": "login", "email": "a@example.com", **NEW_PASSWORD}
    url = f"/admin/users/user/{UserFactory.create().pk}/change/"
    for page in (root.post("/admin/users/user/add/", new), root.post(url, form_data(root.get(url)) | new)):
        assert "This username is reserved." in str(page.context["errors"])
    assert not User.objects.filter(username="login").exists()


@people
@pytest.mark.parametrize("name", ["a/b/c", "", "x" * 200])
def test_username_that_no_page_could_have_is_a_form_error(root: Client, name: str) -> None:
    page = root.post("/admin/users/user/add/", {"username": name, "email": "a@example.com"})
    assert "username" in page.context["adminform"].form.errors


@people
def test_taken_address_is_refused_however_it_is_typed(root: Client) -> None:
    UserFactory.create(email="ada@example.com")
    new = {"username": "new", "email": "ADA@example.com", **NEW_PASSWORD}
    assert root.post("/admin/users/user/add/", new).context["adminform"].form.errors.keys() == {"email"}


@blog
@pytest.mark.parametrize("slug", sorted(RESERVED_SLUGS))
def test_slug_of_another_page_of_the_blog_is_refused(root: Client, slug: str) -> None:
    url = f"{POSTS}{PostFactory.create().pk}/change/"
    page = root.post(url, form_data(root.get(url)) | {"slug": slug})
    assert "This slug is reserved" in str(page.context["errors"])
    assert not Post.objects.filter(slug=slug).exists()


@blog
def test_post_that_is_too_long_for_the_site_is_too_long_for_the_admin(root: Client) -> None:
    url = f"{POSTS}{PostFactory.create().pk}/change/"
    data = form_data(root.get(url))
    page = root.post(url, data | {"content": "x" * (MAX_CONTENT_LENGTH + 1)})
    assert "at most 100000 characters" in str(page.context["errors"])
    assert root.post(url, data | {"content": "x" * MAX_CONTENT_LENGTH}).status_code == 302


@blog
def test_post_that_somebody_deletes_while_it_is_saved_stays_deleted(rf: RequestFactory) -> None:
    post = PostFactory.create()
    Post.objects.all().delete()
    with pytest.raises(Http404), atomic_for(Post):
        PostAdmin(Post, admin.site).save_model(rf.post("/"), post, form=None, change=True)
    assert not Post.objects.exists()
