"""Keyset pagination: a page begins at a row, not at a number, so that no page is slow and new posts shift nothing."""

import struct
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from apps.blog.models import Post

PAGE_SIZE = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Cursor:
    """A post's place in the order of (published_at, id)."""

    published_at: datetime
    id: int

    def __str__(self) -> str:
        packed = struct.pack(">qq", (self.published_at - EPOCH) // MICROSECOND, self.id)
        return urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what str() wrote. Raises ValueError for anything else."""
        try:
            microseconds, pk = struct.unpack(">qq", b64decode(f"{text}==", altchars=b"-_", validate=True))
            return cls(EPOCH + microseconds * MICROSECOND, pk)
        except (ValueError, OverflowError, struct.error) as error:
            raise ValueError(f"{text!r} is not a cursor.") from error

    @classmethod
    def of(cls, post: Post) -> "Cursor":
        assert post.published_at is not None  # noqa: S101 - a constraint says so of every published post
        return cls(post.published_at, post.pk)

    def older(self) -> Q:
        # The first condition is implied by the second, and is the one that an index can use.
        same_time = Q(published_at=self.published_at, id__lt=self.id)
        return Q(published_at__lte=self.published_at) & (Q(published_at__lt=self.published_at) | same_time)

    def newer(self) -> Q:
        same_time = Q(published_at=self.published_at, id__gt=self.id)
        return Q(published_at__gte=self.published_at) & (Q(published_at__gt=self.published_at) | same_time)


@dataclass(frozen=True)
class Page:
    """Some posts, newest first, and the cursors of the pages on either side, where there are any."""

    posts: list[Post]
    newer: Cursor | None
    older: Cursor | None


def paginate(posts: QuerySet[Post], *, before: Cursor | None = None, after: Cursor | None = None) -> Page:
    """The page of published posts that ends just after `after`, or begins just before `before`, or is the first."""
    if after:
        found = list(posts.filter(after.newer()).order_by("published_at", "id")[: PAGE_SIZE + 1])
    else:
        found = list((posts.filter(before.older()) if before else posts)[: PAGE_SIZE + 1])
    more, found = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
    if after:
        found.reverse()
    if not found:
        return Page([], None, None)
    newer = more if after else before is not None
    older = more if not after else True
    return Page(found, Cursor.of(found[0]) if newer else None, Cursor.of(found[-1]) if older else None)
