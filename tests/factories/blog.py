# mypy: disable-error-code="attr-defined,no-untyped-call"
from datetime import UTC, datetime, timedelta

import factory

from apps.blog import markdown
from apps.blog.models import Comment, Post, Tag, UserProfile


class UserProfileFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = UserProfile

    user_id = factory.Sequence(lambda n: 1000 + n)
    username = factory.Sequence(lambda n: f"author{n}")
    display_name = factory.Sequence(lambda n: f"Author Number {n}")


class TagFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Tag

    name = factory.Sequence(lambda n: f"tag {n}")
    slug = factory.Sequence(lambda n: f"tag-{n}")


class PostFactory(factory.django.DjangoModelFactory):
    """A published post, each an hour newer than the one before it."""

    class Meta:
        model = Post

    class Params:
        draft = factory.Trait(status=Post.Status.DRAFT, published_at=None)

    title = factory.Sequence(lambda n: f"Post number {n}")
    slug = factory.Sequence(lambda n: f"post-number-{n}")
    author_id = 1000
    content = factory.Sequence(lambda n: f"The *text* of post {n}.")
    content_html = factory.LazyAttribute(lambda post: markdown.render(post.content))
    status = Post.Status.PUBLISHED
    published_at = factory.Sequence(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n))


class CommentFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Comment

    post = factory.SubFactory(PostFactory)
    author_id = 1000
    content = factory.Sequence(lambda n: f"Comment number {n}.")
