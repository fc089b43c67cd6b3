"""A whole blog at once, for a seed or a move from another system."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import router, transaction

from apps.blog.models import Post
from apps.blog.services import add_comment, create_post, save_profiles


def import_blog(*, profiles: Iterable[Mapping[str, Any]], posts: Iterable[Mapping[str, Any]]) -> int:
    """Save the authors' profiles and insert the posts whose title is not there yet, in one transaction.

    A post holds what `create_post` takes, with published_at, and `comments`: what `add_comment` takes. Returns how
    many posts were new.
    """
    with transaction.atomic(using=router.db_for_write(Post)):
        save_profiles(rows=profiles)
        there = set(Post.objects.values_list("title", flat=True))
        new = [row for row in posts if row["title"] not in there]
        for row in new:
            _insert(row)
    return len(new)


def _insert(row: Mapping[str, Any]) -> None:
    fields = dict(row)
    comments = fields.pop("comments")
    post = create_post(**fields, status=Post.Status.PUBLISHED)
    Post.objects.filter(pk=post.pk).update(created_at=post.published_at, updated_at=post.published_at)
    for comment in comments:
        add_comment(post=post, **comment)
