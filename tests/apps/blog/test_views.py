from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from apps.blog import selectors, services
from apps.blog.models import Comment, Post, Tag
from tests.factories.blog import CommentFactory, PostFactory, TagFactory, UserProfileFactory

anonymous = pytest.mark.django_db(databases=["default"])
signed_in_too = pytest.mark.django_db(databases=["default", "users_db"])
everywhere = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db", "legacy_db"])

SignedIn = Callable[[Any], Client]
FIELDS = {"title": "A title", "summary": "", "content": "Some *text*.", "tags": "", "status": "draft"}
WRITE = "/blog/write/"


def queries_of(client: Client, url: str) -> dict[str, int]:
    """How many queries a page takes on each alias, those with none left out."""
    captures = {cluster.primary: CaptureQueriesContext(connections[cluster.primary]) for cluster in settings.CLUSTERS}
    for capture in captures.values():
        capture.__enter__()
    assert client.get(url).status_code == 200
    for capture in captures.values():
        capture.__exit__(None, None, None)
    return {alias: len(capture) for alias, capture in captures.items() if len(capture)}


# What a page costs


@everywhere
@pytest.mark.parametrize("posts", [1, 9])
def test_list_takes_three_queries_on_default_and_none_elsewhere(client: Client, posts: int) -> None:
    for post in PostFactory.create_batch(posts):
        post.tags.add(TagFactory.create(), TagFactory.create())
    assert queries_of(client, reverse("blog:list")) == {"default": 3}


@everywhere
def test_tag_page_takes_one_query_more_for_the_tag(client: Client) -> None:
    tag = TagFactory.create()
    for post in PostFactory.create_batch(5):
        post.tags.add(tag)
    assert queries_of(client, tag.get_absolute_url()) == {"default": 4}


@everywhere
def test_search_takes_three_queries(client: Client) -> None:
    PostFactory.create_batch(5)
    assert queries_of(client, "/blog/search/?q=text") == {"default": 3}


@everywhere
def test_post_takes_four_queries_whatever_the_number_of_comments(client: Client) -> None:
    post = PostFactory.create()
    for number in range(9):
        CommentFactory.create(post=post, author_id=UserProfileFactory.create(user_id=number).user_id)
    assert queries_of(client, post.get_absolute_url()) == {"default": 4}


@everywhere
def test_my_posts_take_one_query_on_default(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    for post in PostFactory.create_batch(3, author_id=maya.pk):
        CommentFactory.create_batch(2, post=post)
    assert queries_of(signed_in(maya), reverse("blog:mine")) == {"default": 1, "users_db": 2}


@anonymous
def test_newest_posts_come_with_their_authors_in_two_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    UserProfileFactory.create(user_id=1000, display_name="Maya")
    PostFactory.create_batch(5)
    with django_assert_num_queries(2, using="default"):
        posts: list[Any] = selectors.newest_posts(3)
        assert [(post.title != "", post.profile.display_name) for post in posts] == [(True, "Maya")] * 3


@anonymous
def test_posts_of_an_author_come_with_comment_counts_in_one_query(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    post = CommentFactory.create(post__author_id=1).post
    CommentFactory.create(post=post)
    PostFactory.create(author_id=1, draft=True)
    PostFactory.create(author_id=2)
    with django_assert_num_queries(1, using="default"):
        posts: list[Any] = list(selectors.posts_by(1))
        rows = [(row.status, row.title != "", row.created_at is not None, row.comment_count) for row in posts]
    assert rows == [("draft", True, True, 0), ("published", True, True, 2)]


# Who is shown


@anonymous
def test_author_is_a_link_to_the_profile_by_its_display_name(client: Client) -> None:
    UserProfileFactory.create(user_id=1000, username="maya", display_name="Maya <b>Lindqvist</b>")
    post = PostFactory.create()
    for url in ("/blog/", post.get_absolute_url()):
        text = client.get(url).text
        assert '<a href="/users/maya/">Maya &lt;b&gt;Lindqvist&lt;/b&gt;</a>' in text


@anonymous
def test_author_without_profile_is_a_deleted_user_without_link(client: Client) -> None:
    comment = CommentFactory.create(author_id=404, post__author_id=405)
    text = client.get(comment.post.get_absolute_url()).text
    assert text.count("Deleted user") == 2
    assert "/users/40" not in text


@anonymous
def test_user_name_that_no_address_can_hold_is_shown_without_link(client: Client) -> None:
    UserProfileFactory.create(user_id=1000, username="", display_name="No Name")
    PostFactory.create()
    assert "No Name" in client.get("/blog/").text


# Drafts and permissions


@signed_in_too
def test_draft_is_visible_to_its_author_only(client: Client, make_user: Any, signed_in: SignedIn) -> None:
    maya, tomas = make_user("maya"), make_user("tomas", is_superuser=True, is_staff=True)
    draft = PostFactory.create(author_id=maya.pk, draft=True, title="Secret plan")
    draft.tags.add(tag := TagFactory.create())
    pages = ["/blog/", tag.get_absolute_url(), "/blog/search/?q=Secret+plan&x=", "/blog/feed/", "/blog/sitemap.xml"]
    for reader in (client, signed_in(tomas), signed_in(maya)):
        assert not [page for page in pages if draft.get_absolute_url() in reader.get(page).text]
    for part in ("", "edit/", "delete/"):
        url = draft.get_absolute_url() + part
        assert signed_in(maya).get(url).status_code == 200
        assert signed_in(tomas).get(url).status_code == 404
        assert client.get(url).status_code == (302 if part else 404)
    assert signed_in(maya).get("/blog/mine/").text.count("Secret plan") > 0
    assert "Secret plan" not in signed_in(tomas).get("/blog/mine/").text


@signed_in_too
def test_tag_that_only_drafts_have_is_not_found_except_by_their_author(
    client: Client, make_user: Any, signed_in: SignedIn
) -> None:
    maya, tomas = make_user("maya"), make_user("tomas", is_superuser=True, is_staff=True)
    PostFactory.create(author_id=maya.pk, draft=True).tags.add(tag := TagFactory.create())
    statuses = [
        reader.get(tag.get_absolute_url()).status_code for reader in (client, signed_in(tomas), signed_in(maya))
    ]
    assert statuses == [404, 404, 200]
    PostFactory.create().tags.add(tag)
    assert client.get(tag.get_absolute_url()).status_code == 200


@signed_in_too
@pytest.mark.parametrize("part", ["edit/", "delete/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_post_of_somebody_else_is_forbidden(make_user: Any, signed_in: SignedIn, part: str, method: str) -> None:
    post = PostFactory.create()
    client = signed_in(make_user("maya"))
    assert getattr(client, method)(post.get_absolute_url() + part, FIELDS).status_code == 403
    assert Post.objects.get().title == post.title


@signed_in_too
def test_staff_with_the_permission_edit_but_do_not_delete(make_user: Any, signed_in: SignedIn) -> None:
    editor = make_user("editor", is_staff=True)
    post = PostFactory.create()
    assert signed_in(editor).get(f"{post.get_absolute_url()}edit/").status_code == 403
    editor.user_permissions.add(Permission.objects.get(codename="change_post"))
    client = signed_in(editor)
    assert "Edit</a>" in client.get(post.get_absolute_url()).text
    client.post(f"{post.get_absolute_url()}edit/", FIELDS | {"status": "published"})
    post.refresh_from_db()
    assert (post.title, post.author_id) == ("A title", 1000)
    assert client.post(f"{post.get_absolute_url()}delete/").status_code == 403


@signed_in_too
def test_editor_who_unpublishes_lands_on_a_page_they_may_see(make_user: Any, signed_in: SignedIn) -> None:
    client = signed_in(make_user("editor", is_staff=True, is_superuser=True))
    post = PostFactory.create()
    response = client.post(f"{post.get_absolute_url()}edit/", FIELDS, follow=True)
    assert response.redirect_chain == [("/blog/", 302)]


@signed_in_too
def test_permission_without_being_staff_is_not_enough(make_user: Any, signed_in: SignedIn) -> None:
    user = make_user("maya")
    user.user_permissions.add(Permission.objects.get(codename="change_post"))
    assert signed_in(user).get(f"{PostFactory.create().get_absolute_url()}edit/").status_code == 403


@anonymous
@pytest.mark.parametrize("url", ["/blog/write/", "/blog/mine/", "/blog/post/edit/", "/blog/post/delete/"])
def test_visitors_are_sent_to_log_in(client: Client, url: str) -> None:
    PostFactory.create(slug="post")
    for response in (client.get(url), client.post(url, FIELDS)):
        assert response.status_code == 302
        assert response["Location"] == f"/users/login/?next={url}"
    assert Post.objects.count() == 1


# Writing


@signed_in_too
def test_post_is_written_to_default_and_not_to_users_db(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    response = signed_in(maya).post(WRITE, FIELDS | {"tags": "Routing, c#,  c++ ,routing,"}, follow=True)
    post = Post.objects.using("default").get()
    assert response.redirect_chain == [("/blog/a-title/", 302)]
    assert (post.author_id, post.status, post.content_html) == (maya.pk, "draft", "<p>Some <em>text</em>.</p>\n")
    assert [tag.name for tag in post.tags.all()] == ["c#", "c++", "routing"]
    assert Post._meta.db_table not in connections["users_db"].introspection.table_names()


@signed_in_too
def test_preview_shows_the_sanitised_text_and_saves_nothing(make_user: Any, signed_in: SignedIn) -> None:
    client = signed_in(make_user("maya"))
    content = "**bold** <script>alert(1)</script>"
    response = client.post(WRITE, FIELDS | {"content": content, "tags": "new", "preview": "1"})
    assert "<strong>bold</strong> &lt;script&gt;" in response.text
    assert 'value="A title"' in response.text
    assert not Post.objects.exists()
    assert not Tag.objects.exists()


@signed_in_too
def test_preview_of_an_edited_post_leaves_it_alone(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    post = PostFactory.create(author_id=maya.pk, title="Before")
    url = f"{post.get_absolute_url()}edit/"
    response = signed_in(maya).post(url, FIELDS | {"content": "**after**", "preview": "1"})
    assert "<strong>after</strong>" in response.text
    assert Post.objects.values("title", "content").get() == {"title": "Before", "content": post.content}


@signed_in_too
def test_edit_form_holds_the_post_with_its_tags(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    post = services.create_post(author_id=maya.pk, title="T", content="C", tags=["b", "a"])
    form = signed_in(maya).get(f"{post.get_absolute_url()}edit/").context["form"]
    assert (form["title"].value(), form["content"].value(), form["tags"].value()) == ("T", "C", "a, b")


@signed_in_too
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "   "),
        ("title", "x" * 201),
        ("title", "a\x00b"),
        ("summary", "x" * 241),
        ("summary", "\x00"),
        ("content", ""),
        ("content", "x" * 100_001),
        ("content", "a\x00b"),
        ("tags", "a,b,c,d,e,f"),
        ("tags", "x" * 41),
        ("tags", "a,\x00"),
        ("status", "hidden"),
        ("status", "\x00"),
        ("status", ""),
    ],
)
@pytest.mark.parametrize("button", [{}, {"preview": "1"}])
def test_bad_input_is_a_message_and_nothing_is_saved(
    make_user: Any, signed_in: SignedIn, field: str, value: str, button: dict[str, str]
) -> None:
    response = signed_in(make_user("maya")).post(WRITE, FIELDS | {field: value} | button)
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    assert not Post.objects.exists()


@signed_in_too
def test_nul_byte_in_a_comment_is_a_message(make_user: Any, signed_in: SignedIn) -> None:
    post = PostFactory.create()
    for content in ("\x00", "x" * 4001, "", "  "):
        response = signed_in(make_user(f"u{len(content)}")).post(post.get_absolute_url(), {"content": content})
        assert response.context["form"].errors
    assert not Comment.objects.exists()


@signed_in_too
def test_deleting_asks_first(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    post = PostFactory.create(author_id=maya.pk)
    url = f"{post.get_absolute_url()}delete/"
    assert "Delete your post?" in signed_in(maya).get(url).text
    assert Post.objects.exists()
    assert signed_in(maya).post(url)["Location"] == "/blog/mine/"
    assert not Post.objects.exists()


# Reading


@anonymous
def test_post_page_has_one_h1(client: Client) -> None:
    post = services.create_post(author_id=1, title="T", content="# One\n# Two", status=Post.Status.PUBLISHED)
    text = client.get(post.get_absolute_url()).text
    assert text.count("<h1") == 1
    assert "<h2>One</h2>" in text


@anonymous
@pytest.mark.parametrize(
    "payload", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title><svg onload=a>"]
)
def test_payloads_are_shown_as_text(client: Client, payload: str) -> None:
    UserProfileFactory.create(user_id=1000, display_name=payload)
    post = services.create_post(
        author_id=1000, title=payload, summary=payload, content=payload, status=Post.Status.PUBLISHED, tags=[payload]
    )
    services.add_comment(post=post, author_id=1000, content=payload)
    tag = Tag.objects.get().get_absolute_url()
    for url in ("/blog/", post.get_absolute_url(), tag, f"/blog/search/?q={payload}"):
        text = client.get(url).text
        assert payload not in text
        assert payload.replace("<", "&lt;").replace(">", "&gt;") in text


@anonymous
def test_comment_is_plain_text_and_holds_no_link(client: Client) -> None:
    comment = CommentFactory.create(content="[x](javascript:alert(1)) https://example.com **no**\n\nTwo")
    text = client.get(comment.post.get_absolute_url()).text
    assert "<p>[x](javascript:alert(1)) https://example.com **no**</p>\n\n<p>Two</p>" in text


@anonymous
@pytest.mark.parametrize(
    "url",
    [
        "/blog/none/",
        "/blog/tag/none/",
        "/blog/tag/%00/",
        "/blog/%00/",
        f"/blog/{'x' * 5000}/",
        "/blog/tag/",
        "/blog/é/",
    ],
)
def test_address_of_nothing_is_not_found(client: Client, url: str) -> None:
    assert client.get(url).status_code == 404


@anonymous
def test_pages_name_the_feed(client: Client) -> None:
    post = PostFactory.create()
    for url in ("/blog/", post.get_absolute_url()):
        assert '<link rel="alternate" type="application/atom+xml"' in client.get(url).text


@anonymous
def test_empty_blog_says_so(client: Client) -> None:
    assert "There are no posts here." in client.get("/blog/").text


# Comments


@signed_in_too
def test_comment_is_written_to_default(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    post = PostFactory.create()
    response = signed_in(maya).post(post.get_absolute_url(), {"content": "Well said."})
    comment = Comment.objects.using("default").get()
    assert response["Location"] == f"{post.get_absolute_url()}#comment-{comment.pk}"
    assert (comment.post, comment.author_id, comment.content) == (post, maya.pk, "Well said.")


@anonymous
def test_visitor_who_comments_is_sent_to_log_in(client: Client) -> None:
    post = PostFactory.create()
    response = client.post(post.get_absolute_url(), {"content": "x"})
    assert response["Location"] == f"/users/login/?next={post.get_absolute_url()}"
    assert not Comment.objects.exists()


@signed_in_too
def test_draft_takes_no_comments(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    draft = PostFactory.create(author_id=maya.pk, draft=True)
    assert signed_in(maya).post(draft.get_absolute_url(), {"content": "x"}).status_code == 403
    assert not Comment.objects.exists()


@signed_in_too
def test_ones_own_comment_can_be_deleted_and_no_other(make_user: Any, signed_in: SignedIn) -> None:
    maya, tomas = make_user("maya"), make_user("tomas", is_superuser=True, is_staff=True)
    comment = CommentFactory.create(author_id=maya.pk)
    url = reverse("blog:delete_comment", args=[comment.post.slug, comment.pk])
    assert url in signed_in(maya).get(comment.post.get_absolute_url()).text
    assert url not in signed_in(tomas).get(comment.post.get_absolute_url()).text
    assert signed_in(tomas).post(url).status_code == 403
    assert "Delete your comment?" in signed_in(maya).get(url).text
    assert Comment.objects.exists()
    assert signed_in(maya).post(url)["Location"] == f"{comment.post.get_absolute_url()}#comments"
    assert not Comment.objects.exists()


@signed_in_too
@pytest.mark.parametrize("number", ["0", "9" * 30, "9" * 5000])
def test_comment_that_is_not_there_is_not_found(make_user: Any, signed_in: SignedIn, number: str) -> None:
    post = PostFactory.create()
    url = f"{post.get_absolute_url()}comments/{number}/delete/"
    assert signed_in(make_user("maya")).post(url).status_code == 404


@signed_in_too
def test_comment_is_only_found_under_its_own_post(make_user: Any, signed_in: SignedIn) -> None:
    maya = make_user("maya")
    comment, other = CommentFactory.create(author_id=maya.pk), PostFactory.create()
    url = reverse("blog:delete_comment", args=[other.slug, comment.pk])
    assert signed_in(maya).post(url).status_code == 404


@anonymous
def test_newest_comments_are_shown_with_the_count_of_all(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "COMMENTS_SHOWN", 3)
    post = PostFactory.create()
    comments = CommentFactory.create_batch(5, post=post)
    response = client.get(post.get_absolute_url())
    assert response.context["comments"] == comments[2:]
    assert "5 comments" in response.text
    assert "The newest 3 are shown." in response.text
