"""What the blog writes, all of it to one database. Each function is one transaction there."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.text import slugify

from apps.blog import markdown
from apps.blog.models import Comment, Post, Tag, UserProfile
from routers.upsert import bulk_upsert

# What stands under /blog/ beside the posts.
RESERVED_SLUGS = frozenset({"tag", "search", "write", "feed", "mine"})


def create_post(
    *,
    author_id: int,
    title: str,
    content: str,
    status: str = Post.Status.DRAFT,
    summary: str = "",
    tags: Iterable[str] = (),
    published_at: datetime | None = None,
) -> Post:
    """Write a post under a slug made from its title, which stays for good. An import may say when it was published."""
    post = Post(
        author_id=author_id, title=title, content=content, status=status, summary=summary, published_at=published_at
    )
    prepare_post(post)
    alias = router.db_for_write(Post)
    with transaction.atomic(using=alias):
        _insert_under_free_slug(post, alias)
        _set_tags(post, tags, alias)
    return post


def update_post(*, post: Post, title: str, content: str, status: str, summary: str, tags: Iterable[str]) -> Post:
    """Change a post. Its slug stays, and so does the date on which it was first published.

    Raises Post.DoesNotExist when somebody has deleted it meanwhile.
    """
    post.title, post.content, post.status, post.summary = title, content, status, summary
    alias = router.db_for_write(Post)
    with transaction.atomic(using=alias):
        hold_post(post, using=alias)
        prepare_post(post)
        fields = ("title", "content", "content_html", "status", "summary", "published_at", "updated_at")
        post.save(using=alias, update_fields=fields)
        _set_tags(post, tags, alias)
    return post


def prepare_post(post: Post) -> None:
    """Bring what follows from other fields up to date. Whoever saves a post by other ways calls it first, and before
    that hold_post(), if it is not a new one."""
    post.content_html = markdown.render(post.content)
    if post.status == Post.Status.PUBLISHED and post.published_at is None:
        post.published_at = timezone.now()


def hold_post(post: Post, *, using: str) -> None:
    """Keep others from changing or deleting the post until the end of the transaction, and tell it when it was first
    published, as the primary has it: the instance may be older, or from a replica.

    Raises Post.DoesNotExist.
    """
    held = Post.objects.using(using).select_for_update().only("published_at").get(pk=post.pk)
    post.published_at = held.published_at


def delete_post(*, post: Post) -> None:
    """Delete a post with its comments."""
    post.delete()


def add_comment(*, post: Post, author_id: int, content: str, created_at: datetime | None = None) -> Comment:
    """Comment on a post. An import may say when it was written.

    Raises Post.DoesNotExist when somebody has deleted the post meanwhile.
    """
    alias = router.db_for_write(Post)
    with transaction.atomic(using=alias):
        hold_post(post, using=alias)
        comment = Comment.objects.create(post=post, author_id=author_id, content=content)
    if created_at:  # auto_now_add takes no notice of what it is given
        comment.created_at = created_at
        comment.save(update_fields=("created_at",))
    return comment


def delete_comment(*, comment: Comment) -> None:
    comment.delete()


def save_profiles(*, rows: Iterable[Mapping[str, Any]]) -> None:
    """Keep the blog's copies of what it shows of these authors, new or not, in batches of one statement each."""
    bulk_upsert(
        UserProfile,
        [UserProfile(**row) for row in rows],
        unique_fields=["user_id"],
        update_fields=["username", "display_name", "bio", "updated_at"],
        batch_size=500,
    )


def delete_profiles(*, user_ids: Iterable[int]) -> None:
    """Forget these authors. What they wrote stays, as by a deleted user."""
    UserProfile.objects.filter(user_id__in=user_ids).delete()


def slugs(text: str, *, fallback: str, max_length: int, reserved: frozenset[str] = frozenset()) -> Iterator[str]:
    """The slugs to try for a text, in order: plain, with a small number, and last one that nobody else can have."""
    slug = slugify(text)[: max_length - 9].strip("-_") or fallback
    if slug not in reserved:
        yield slug
    yield from (f"{slug}-{number}" for number in range(2, 6))
    yield f"{slug}-{get_random_string(8, 'abcdefghijkmnpqrstuvwxyz23456789')}"


def _insert_under_free_slug(post: Post, alias: str) -> None:
    # The unique index decides, not a look beforehand: another process may take the slug in between.
    for slug in slugs(post.title, fallback="post", max_length=220, reserved=RESERVED_SLUGS):
        post.slug = slug
        try:
            with transaction.atomic(using=alias):
                return post.save(using=alias, force_insert=True)
        except IntegrityError:
            if not Post.objects.using(alias).filter(slug=slug).exists():
                raise
    raise IntegrityError(f"No free slug on {alias} for a post titled {post.title!r}. Give it another title.")


def _set_tags(post: Post, names: Iterable[str], alias: str) -> None:
    # In one order for everybody: two posts that make the same new tags must not wait for each other.
    names = sorted(set(names))
    tags = {tag.name: tag for tag in Tag.objects.using(alias).filter(name__in=names)}
    post.tags.set([tags.get(name) or _create_tag(name, alias) for name in names])


def _create_tag(name: str, alias: str) -> Tag:
    for slug in slugs(name, fallback="tag", max_length=40):
        try:
            with transaction.atomic(using=alias):
                return Tag.objects.using(alias).create(name=name, slug=slug)
        except IntegrityError:
            # Either somebody has just made this very tag, or the slug is another one's, as "c" is that of c# and c++.
            if tag := Tag.objects.using(alias).filter(name=name).first():
                return tag
    raise IntegrityError(f"No free slug on {alias} for the tag {name!r}. Give it another name.")
