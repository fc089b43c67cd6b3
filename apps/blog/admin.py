from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest

from apps.blog import services
from apps.blog.forms import MAX_CONTENT_LENGTH
from apps.blog.models import Comment, Post, Tag, UserProfile
from routers.admin import MultiDBModelAdmin, MultiDBTabularInline, OnOneDatabase
from routers.relations import CrossDatabaseForeignKey


class PostForm(forms.ModelForm):
    """The limits that a post written on the site cannot pass either."""

    content = forms.CharField(max_length=MAX_CONTENT_LENGTH, widget=AdminTextareaWidget)

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug in services.RESERVED_SLUGS:
            raise ValidationError("This slug is reserved for another page of the blog. Choose another one.")
        return slug


class WithAuthor(OnOneDatabase):
    """The author by id, and their name from the blog's own copy in the same query: one can search and sort by it."""

    raw_id_fields = ("author",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        names = UserProfile.objects.filter(user=OuterRef("author_id")).values("display_name")
        queryset: QuerySet[Any] = super().get_queryset(request).annotate(author_name=Subquery(names))
        return queryset

    @admin.display(ordering="author_name", description="name")
    def author_name(self, obj: Any) -> str:
        return str(obj.author_name or "a deleted user")


class CommentInline(WithAuthor, MultiDBTabularInline):
    model = Comment
    fields = ("author", "author_name", "content", "created_at")
    readonly_fields = ("author_name", "created_at")
    formfield_overrides = {
        models.TextField: {"widget": forms.Textarea(attrs={"rows": 3, "cols": 60})},
        # The admin's own widget asks for the author's name, once for each comment, and it stands beside the id.
        CrossDatabaseForeignKey: {"widget": forms.NumberInput},
    }
    extra = 0


@admin.register(Post)
class PostAdmin(WithAuthor, MultiDBModelAdmin):
    form = PostForm
    list_display = ("title", "author_name", "status", "published_at", "updated_at")
    list_filter = ("status", "tags")
    search_fields = ("title", "summary", "author_name")
    date_hierarchy = "published_at"
    fields = (
        "title",
        "slug",
        ("author", "author_name"),
        "summary",
        "content",
        "tags",
        "status",
        ("published_at", "created_at", "updated_at"),
    )
    readonly_fields = ("author_name", "published_at", "created_at", "updated_at")
    prepopulated_fields = {"slug": ("title",)}
    autocomplete_fields = ("tags",)
    inlines = (CommentInline,)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"author": request.user.pk, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Post, form: Any, change: Any) -> None:  # type: ignore[override]
        if change:
            try:
                services.hold_post(obj, using=self.database_alias)
            except Post.DoesNotExist as error:
                raise Http404("Somebody has just deleted this post.") from error
        services.prepare_post(obj)
        super().save_model(request, obj, form, change)


@admin.register(Comment)
class CommentAdmin(WithAuthor, MultiDBModelAdmin):
    list_display = ("__str__", "author_name", "post", "created_at")
    list_select_related = ("post",)
    search_fields = ("content", "post__title", "author_name")
    date_hierarchy = "created_at"
    fields = ("post", ("author", "author_name"), "content", "created_at")
    readonly_fields = ("author_name", "created_at")
    autocomplete_fields = ("post",)


@admin.register(Tag)
class TagAdmin(MultiDBModelAdmin):
    list_display = ("name", "slug")
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}


@admin.register(UserProfile)
class UserProfileAdmin(MultiDBModelAdmin):
    list_display = ("user_id", "username", "display_name", "updated_at")
    search_fields = ("=user__id", "username", "display_name")
    view_only_because = "View only: a copy that follows each change of the person, who is under users."
