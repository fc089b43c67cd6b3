"""What Django can ask across a relation, and what becomes of it where the relation leads to another database.

The list is run on SQLite and on PostgreSQL, and docs/relations.md shows it. `ada` is a user and the author of `post`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections, models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.db.models.query import RawQuerySet

from apps.blog.models import Comment, Post, Tag, UserProfile
from apps.users.models import User

NAMES = {
    **vars(models),
    **{found.__name__: found for found in (Coalesce, Comment, Post, RawSQL, Tag, User, UserProfile)},
}
FIELD, GUARD, ALLOWED = "the field", "the guard", "allowed"

LOOKUPS = {
    FIELD: (
        'Post.objects.select_related("author")',
        'Comment.objects.select_related("post__author")',
        'Post.objects.filter(author__username="ada")',
        'Post.objects.filter(Q(title="x", author__is_active=True))',
        'Post.objects.filter(author__groups__name="editors")',
        'Post.objects.exclude(author__username="ada")',
        'Post.objects.filter(author__username="ada").exists()',
        'Post.objects.filter(author__username="ada").update(title="x")',
        'Post.objects.filter(author__username="ada").delete()',
        'Post.objects.order_by("author__username")',
        'Post.objects.values("author__username")',
        'Post.objects.values_list("pk", "author__username")',
        'Post.objects.datetimes("author__created_at", "day")',
        'Post.objects.annotate(name=F("author__username"))',
        "Post.objects.annotate(is_new=Case(When(author__created_at__gt=now, then=Value(1))))",
        'Post.objects.annotate(groups=Count("author__groups"))',
        'Post.objects.aggregate(Max("author__created_at"))',
        'Comment.objects.filter(post__author__username="ada")',
        'Tag.objects.filter(posts__author__username="ada")',
        "UserProfile.objects.filter(user__is_active=True)",
        'User.objects.filter(posts__title="x")',
        'User.objects.exclude(posts__title="x")',
        "User.objects.filter(posts__isnull=True)",
        'User.objects.order_by("posts__title")',
        'User.objects.values("posts__title")',
        'User.objects.annotate(number=Count("posts"))',
        'User.objects.aggregate(Count("posts"))',
        'User.objects.annotate(new=FilteredRelation("posts", condition=Q(posts__pk__gt=1))).filter(new__title="x")',
        'User.objects.filter(profile__bio="")',
        'User.objects.select_related("profile")',
        "Post.objects.filter(author__in=User.objects.filter(is_active=True))",
        'Post.objects.filter(author_id__in=User.objects.values("pk"))',
        'Post.objects.filter(author__pk__in=User.objects.values("pk"))',
        "Post.objects.exclude(author__in=User.objects.filter(is_active=True))",
        'Post.objects.filter(author=Subquery(User.objects.values("pk")[:1]))',
        'Post.objects.filter(author=Coalesce(Subquery(User.objects.values("pk")[:1]), 0))',
        'Post.objects.filter(author__gt=Subquery(User.objects.values("pk")[:1]) + 1)',
        'Post.objects.filter(author__in=[1, Subquery(User.objects.values("pk")[:1])])',
        "UserProfile.objects.filter(pk__in=User.objects.filter(is_active=True))",
    ),
    GUARD: (
        'Post.objects.filter(Exists(User.objects.filter(pk=OuterRef("author_id"))))',
        'User.objects.filter(Exists(Post.objects.filter(author=OuterRef("pk"))))',
        'Post.objects.annotate(name=Subquery(User.objects.filter(pk=OuterRef("author")).values("username")))',
        'Post.objects.filter(title="none").update(title=Subquery(User.objects.values("username")[:1]))',
        'Post.objects.filter(title__in=User.objects.values("username"))',
        'User.objects.filter(pk__in=Post.objects.values("author"))',
        'User.objects.values("username").union(Tag.objects.order_by().values("name"))',
        'Post.objects.filter(author=RawSQL("SELECT MAX(id) FROM users_user", ()))',
        'Post.objects.filter(author__in=RawSQL("SELECT id FROM users_user", ()))',
        'Post.objects.extra(tables=["users_user"])',
        'Post.objects.raw("SELECT p.* FROM blog_post p JOIN users_user u ON u.id = p.author_id")',
        'sql("SELECT 1 FROM blog_post AS p, users_user AS u WHERE u.id = p.author_id")',
        'sql(\'SELECT 1 FROM "blog_post" WHERE author_id IN (SELECT id FROM "users_user")\')',
        'sql("DELETE FROM blog_post WHERE id = 0 AND author_id NOT IN (SELECT id FROM users_user)")',
    ),
    ALLOWED: (
        "post.author",
        "ada.posts.all()",
        "ada.profile",
        'Post.objects.prefetch_related("author")',
        'Comment.objects.prefetch_related("post__author")',
        'User.objects.prefetch_related("posts__tags", "profile")',
        'User.objects.prefetch_related(Prefetch("posts", Post.objects.filter(status="draft"), to_attr="drafts"))',
        "Post.objects.filter(author=ada)",
        "Post.objects.filter(author=ada.pk)",
        "Post.objects.filter(author_id=ada.pk)",
        "Post.objects.filter(author__pk=ada.pk)",
        "Post.objects.filter(author__in=[ada, 2])",
        "Post.objects.filter(author__id__in=[1, 2])",
        "Post.objects.filter(author__isnull=False)",
        "Post.objects.exclude(author=ada)",
        'Post.objects.filter(author=ada, title="none").update(title="x")',
        'Post.objects.filter(author=ada, title="none").delete()',
        'Post.objects.order_by("author", "author__pk")',
        'Post.objects.values("author", "author_id", "author__id")',
        'Post.objects.values("author").annotate(Count("pk"))',
        'Post.objects.aggregate(Count("author", distinct=True))',
        'Comment.objects.select_related("post")',
        "Comment.objects.filter(post__author=ada)",
        'Comment.objects.filter(author=F("post__author"))',
        'Post.objects.filter(author__in=UserProfile.objects.values("user"))',
        'Post.objects.filter(author=Coalesce(Subquery(UserProfile.objects.values("user")[:1]), 0))',
        'Post.objects.filter(Exists(UserProfile.objects.filter(user=OuterRef("author"))))',
        'User.objects.filter(pk__in=list(Post.objects.values_list("author", flat=True)))',
        "sql(\"SELECT 'FROM users_user' AS users_user FROM blog_post -- JOIN users_user\")",
    ),
}
EACH = pytest.mark.parametrize(
    ("outcome", "code"),
    [pytest.param(outcome, code, id=code) for outcome, codes in LOOKUPS.items() for code in codes],
)


def run(code: str, *, ada: User, post: Post) -> Any:
    """Evaluate the code, and the queryset that it gives."""
    names = {**NAMES, "ada": ada, "post": post, "now": datetime.now(tz=UTC), "sql": _sql}
    found = eval(code, names)
    return list(found) if isinstance(found, models.QuerySet | RawQuerySet) else found


def table() -> str:
    """The list as docs/relations.md shows it."""
    rows = [f"| `{code}` | {outcome} |" for outcome, codes in LOOKUPS.items() for code in codes]
    return "\n".join(["| lookup | caught by |", "| --- | --- |", *rows])


@contextmanager
def statements() -> Iterator[list[tuple[str, str]]]:
    """What is sent to which alias: past the guards, where nothing that they refuse arrives."""
    sent: list[tuple[str, str]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        sent.append((context["connection"].alias, sql))
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for alias in ("default", "users_db"):
            stack.enter_context(connections[alias].execute_wrapper(note))
        yield sent


def aliases(sent: list[tuple[str, str]]) -> list[str]:
    return [alias for alias, _ in sent]


def _sql(statement: str) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(statement)
