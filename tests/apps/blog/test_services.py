from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError
from django.urls import URLPattern

from apps.blog import services
from apps.blog.models import Comment, Post, Tag
from apps.blog.urls import urlpatterns
from tests.factories.blog import CommentFactory, PostFactory

pytestmark = pytest.mark.django_db(databases=["default"])


def write(title: str = "A title", **fields: Any) -> Post:
    given: dict[str, Any] = {"author_id": 1, "title": title, "content": "*Text*"}
    return services.create_post(**(given | fields))


def rewrite(post: Post, **fields: Any) -> Post:
    given: dict[str, Any] = {
        "title": post.title,
        "content": post.content,
        "status": post.status,
        "summary": "",
        "tags": [],
    }
    services.update_post(post=post, **(given | fields))
    return Post.objects.get(pk=post.pk)


def test_post_is_rendered_when_it_is_created_and_when_it_is_edited() -> None:
    post = write()
    assert Post.objects.get().content_html == "<p><em>Text</em></p>\n"
    assert rewrite(post, content="**More**").content_html == "<p><strong>More</strong></p>\n"


def test_slug_comes_from_the_title() -> None:
    assert write("What a Router can't do").slug == "what-a-router-cant-do"


def test_slug_of_a_taken_title_gets_a_suffix_and_the_transaction_goes_on() -> None:
    slugs = [write().slug for _ in range(7)]
    assert slugs[:5] == ["a-title", "a-title-2", "a-title-3", "a-title-4", "a-title-5"]
    assert len(set(slugs)) == 7


@pytest.mark.parametrize("title", ["日本語の題", "Кириллица", "???", "🐘", "_", "--"])
def test_title_without_latin_letters_still_gets_a_slug(title: str) -> None:
    assert [write(title).slug, write(title).slug] == ["post", "post-2"]


def test_longest_title_gets_a_slug_that_fits() -> None:
    title = "x" * 200
    for _ in range(7):
        post = write(title)
        post.full_clean(exclude=["author"])


@pytest.mark.parametrize("word", ["Tag", "Search", "Write", "Feed", "Mine"])
def test_slug_is_never_a_reserved_word(word: str) -> None:
    assert write(word).slug == f"{word.lower()}-2"


def test_every_fixed_address_is_reserved() -> None:
    routes = [str(pattern.pattern) for pattern in urlpatterns if isinstance(pattern, URLPattern)]
    fixed = {route.partition("/")[0] for route in routes if route and not route.startswith("<")}
    assert {word for word in fixed if "." not in word} == services.RESERVED_SLUGS


def test_slug_stays_when_the_title_changes() -> None:
    post = write("First")
    assert rewrite(post, title="Second").slug == "first"


def test_another_integrity_error_is_not_taken_for_a_collision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "prepare_post", lambda post: None)
    with pytest.raises(IntegrityError):
        write(status=Post.Status.PUBLISHED)


def test_publishing_sets_the_date_once_and_unpublishing_keeps_it() -> None:
    post = write()
    assert post.published_at is None
    first = rewrite(post, status=Post.Status.PUBLISHED).published_at
    assert first is not None
    assert rewrite(post, status=Post.Status.PUBLISHED).published_at == first
    assert rewrite(post, status=Post.Status.DRAFT).published_at == first
    assert rewrite(post, status=Post.Status.PUBLISHED).published_at == first


def test_date_that_somebody_else_has_set_meanwhile_stays_too() -> None:
    stale = write()
    first = rewrite(Post.objects.get(), status=Post.Status.PUBLISHED).published_at
    assert rewrite(stale, status=Post.Status.PUBLISHED).published_at == first
    assert stale.published_at == first


def test_draft_that_somebody_else_has_published_meanwhile_keeps_the_date() -> None:
    stale = write()
    first = rewrite(Post.objects.get(), status=Post.Status.PUBLISHED).published_at
    assert rewrite(stale, status=Post.Status.DRAFT).published_at == first


def test_import_may_say_when_a_post_and_a_comment_were_written() -> None:
    when = datetime(2020, 2, 29, tzinfo=UTC)
    post = write(status=Post.Status.PUBLISHED, published_at=when)
    services.add_comment(post=post, author_id=2, content="x", created_at=when)
    assert Post.objects.get().published_at == Comment.objects.get().created_at == when


def test_tags_whose_slugs_collide_are_different_tags() -> None:
    write(tags=["c#", "c++", "c", "日本", "中国"])
    assert dict(Tag.objects.values_list("name", "slug")) == {
        "c": "c", "c#": "c-2", "c++": "c-3", "中国": "tag", "日本": "tag-2",
    }  # fmt: skip


def test_tag_that_exists_is_used_again() -> None:
    first, second = write(tags=["c#", "routing"]), write(tags=["routing", "c#"])
    assert Tag.objects.count() == 2
    assert set(first.tags.all()) == set(second.tags.all())


def test_tag_made_by_somebody_else_in_the_meantime_is_used() -> None:
    theirs = Tag.objects.create(name="routing", slug="routing")
    assert services._create_tag("routing", "default") == theirs


def test_editing_replaces_the_tags() -> None:
    post = write(tags=["a", "b"])
    assert [tag.name for tag in rewrite(post, tags=["b", "c"]).tags.all()] == ["b", "c"]


def test_deleting_a_post_deletes_its_comments() -> None:
    comment = CommentFactory.create()
    other = CommentFactory.create(post=PostFactory.create())
    services.delete_post(post=comment.post)
    assert list(Comment.objects.all()) == [other]


def test_post_that_was_deleted_meanwhile_can_be_neither_edited_nor_commented_on() -> None:
    post = write()
    Post.objects.get().delete()
    with pytest.raises(Post.DoesNotExist):
        rewrite(post)
    with pytest.raises(Post.DoesNotExist):
        services.add_comment(post=post, author_id=1, content="Too late")
    assert not Comment.objects.exists()
