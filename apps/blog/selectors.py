"""What the blog reads, all of it from one database. What shows authors has their profiles attached."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db import connections
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from apps.blog.models import Comment, Post, Tag, UserProfile
from apps.blog.pagination import Cursor, Page, paginate
from apps.users.personal_data import by_key

COMMENTS_SHOWN = 200
HITS_SHOWN = 50
FEED_LENGTH = 20


@dataclass(frozen=True)
class SearchResult:
    """The posts that were found, and a sentence that says how."""

    posts: list[Post]
    method: str


def published_posts() -> QuerySet[Post]:
    return Post.objects.filter(status=Post.Status.PUBLISHED)


def visible_posts(user_id: int | None) -> QuerySet[Post]:
    """What this person may read: every published post and their own drafts. None is a visitor."""
    mine = Q(author_id=user_id) if user_id is not None else Q()
    return Post.objects.filter(Q(status=Post.Status.PUBLISHED) | mine)


def visible_tags(user_id: int | None) -> QuerySet[Tag]:
    """The tags of what this person may read; others may give a draft away."""
    return Tag.objects.filter(Exists(visible_posts(user_id).filter(tags=OuterRef("pk"))))


def attach_profiles(*groups: Iterable[Post | Comment]) -> None:
    """Give each post and comment its author's profile as `.profile`, None for a deleted user, in one query for all."""
    items = list(chain(*groups))
    profiles = UserProfile.objects.in_bulk({item.author_id for item in items})
    for item in items:
        item.profile = profiles.get(item.author_id)  # type: ignore[union-attr]


def list_posts(*, before: Cursor | None = None, after: Cursor | None = None, tag: Tag | None = None) -> Page:
    """A page of published posts, or of those with a tag, with tags and profiles: three queries."""
    posts = tag.posts.filter(status=Post.Status.PUBLISHED) if tag else published_posts()
    page = paginate(_for_list(posts), before=before, after=after)
    attach_profiles(page.posts)
    return page


def newest_posts(limit: int) -> list[Post]:
    """The newest published posts, without tags, for the home page: two queries."""
    posts = list(published_posts().defer("content", "content_html")[:limit])
    attach_profiles(posts)
    return posts


def feed_posts() -> list[Post]:
    """The newest published posts with their HTML and their tags: three queries."""
    posts = list(published_posts().defer("content").prefetch_related("tags")[:FEED_LENGTH])
    attach_profiles(posts)
    return posts


def posts_by(author_id: int) -> QuerySet[Post]:
    """One author's posts and drafts, the last changed first, each with its `comment_count`: one query."""
    return (
        Post.objects.filter(author_id=author_id)
        .only("id", "title", "slug", "author_id", "status", "created_at", "updated_at", "published_at")
        .annotate(comment_count=Count("comments"))
        .order_by("-updated_at", "-id")
    )


def newest_comments(post: Post) -> list[Comment]:
    """The newest COMMENTS_SHOWN comments on a post, in the order in which they were written."""
    return list(reversed(post.comments.order_by("-created_at", "-id")[:COMMENTS_SHOWN]))


def search(text: str) -> SearchResult:
    """Published posts that match, at most HITS_SHOWN: by full text where the blog is on PostgreSQL."""
    posts = _for_list(published_posts())
    if connections[posts.db].vendor == "postgresql":
        posts, method = full_text(posts, text), "PostgreSQL full-text search, the best match first."
    else:
        posts, method = _containing(posts, text), "Posts that contain each of the words as typed, the newest first."
    found = list(posts[:HITS_SHOWN])
    attach_profiles(found)
    return SearchResult(found, method)


def full_text(posts: QuerySet[Post], text: str) -> QuerySet[Post]:
    """Posts that match a query as people type it into search engines ("quoted", or, -not), the best match first."""
    # Migration 0002 indexes exactly what this vector compiles to; with other arguments the index is of no use.
    vector = SearchVector("title", "content", config="english")
    query = SearchQuery(text, config="english", search_type="websearch")
    return posts.alias(vector=vector).filter(vector=query).order_by(SearchRank(vector, query).desc(), "-id")


def count_posts() -> int:
    """How many posts there are, drafts included."""
    return Post.objects.count()


def count_comments() -> int:
    return Comment.objects.count()


def profile_held(user_id: int) -> Iterable[Mapping[str, Any]]:
    """The blog's copy of a person."""
    return UserProfile.objects.filter(user_id=user_id).values()


def posts_held(user_id: int) -> Iterator[Mapping[str, Any]]:
    """All that a person has posted, drafts included."""
    fields = ("title", "slug", "summary", "content", "status", "created_at", "updated_at", "published_at")
    return by_key(Post.objects.filter(author_id=user_id), *fields)


def comments_held(user_id: int) -> Iterator[Mapping[str, Any]]:
    return by_key(Comment.objects.filter(author_id=user_id), "post__slug", "content", "created_at")


def _containing(posts: QuerySet[Post], text: str) -> QuerySet[Post]:
    for word in text.split():
        posts = posts.filter(Q(title__icontains=word) | Q(content__icontains=word))
    return posts


def _for_list(posts: QuerySet[Post]) -> QuerySet[Post]:
    return posts.defer("content", "content_html").prefetch_related("tags")
