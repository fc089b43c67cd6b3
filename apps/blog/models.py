"""Posts, comments and the blog's own copy of their authors. Their tables are on `default`.

Authors are in another database, where no foreign key can reach them: what relates to them holds their ids.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from routers.relations import CASCADE, KEEP, CrossDatabaseForeignKey, CrossDatabaseOneToOneField


class UserProfile(models.Model):
    """What the blog shows of an author, copied from users_db so that a page of posts needs one database only.

    An id without a profile is a deleted user.
    """

    user = CrossDatabaseOneToOneField(
        settings.AUTH_USER_MODEL, on_delete=CASCADE, primary_key=True, related_name="profile"
    )
    username = models.CharField(max_length=150)
    display_name = models.CharField(max_length=310)
    bio = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "user_profile"

    def __str__(self) -> str:
        return self.display_name


class Tag(models.Model):
    name = models.CharField(max_length=40, unique=True)
    slug = models.SlugField(max_length=40, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("blog:tag", args=[self.slug])


class Post(models.Model):
    """A post. `content` is Markdown; `content_html` is the same, rendered and sanitised when it was saved."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"

    title = models.CharField(max_length=200)
    slug = models.SlugField(max_length=220, unique=True)
    author = CrossDatabaseForeignKey(settings.AUTH_USER_MODEL, on_delete=KEEP, related_name="posts")
    summary = models.CharField(max_length=240, blank=True)
    content = models.TextField()
    content_html = models.TextField(editable=False)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.DRAFT)
    tags = models.ManyToManyField(Tag, blank=True, related_name="posts")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-published_at", "-id")
        indexes = (models.Index(fields=["status", "-published_at", "-id"], name="blog_post_newest"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(status="draft") | Q(published_at__isnull=False), name="blog_post_published_has_date"
            ),
        )

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("blog:post", args=[self.slug])


class Comment(models.Model):
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="comments")
    author = CrossDatabaseForeignKey(settings.AUTH_USER_MODEL, on_delete=KEEP, related_name="comments")
    content = models.TextField(max_length=4000)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return self.content[:60]
