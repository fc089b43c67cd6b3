"""A MultiDBModelAdmin that is told its alias, and one that cannot tell."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import models
from django.test import RequestFactory
from django.test.utils import isolate_apps

from apps.blog.models import Comment, Post, Tag
from apps.users.models import User
from routers.admin import MultiDBAdminSite, MultiDBModelAdmin, MultiDBStackedInline, MultiDBTabularInline
from routers.topology import UnroutedApp
from tests.factories.blog import CommentFactory, PostFactory, TagFactory
from tests.factories.users import UserFactory

blog = pytest.mark.django_db(databases=["default", "users_db"])


class CommentInline(MultiDBTabularInline):
    model = Comment


class ReplicaAdmin(MultiDBModelAdmin):
    using = "read_replica_1"
    inlines = (CommentInline,)


class LostAdmin(MultiDBModelAdmin):
    using = "users_db"


@pytest.fixture
def request_of_root(rf: RequestFactory) -> Any:
    request: Any = rf.get("/")
    request.user = UserFactory.create(is_superuser=True, is_staff=True)
    return request


@blog
@pytest.mark.usefixtures("replicas_share_primary")
def test_rows_and_choices_come_from_the_alias_in_using(request_of_root: Any) -> None:
    PostFactory.create()
    page = ReplicaAdmin(Post, AdminSite())
    assert page.get_queryset(request_of_root).get()._state.db == "read_replica_1"
    tags, post = Post._meta.get_field("tags"), Comment._meta.get_field("post")
    choices: Any = page.formfield_for_manytomany(tags, request_of_root)
    assert choices.queryset.db == "read_replica_1"
    choices = page.formfield_for_foreignkey(post, request_of_root)
    assert choices.queryset.db == "read_replica_1"


@blog
def test_choices_in_the_order_of_the_related_admin_come_from_the_alias_too(request_of_root: Any) -> None:
    class TagAdmin(MultiDBModelAdmin):
        ordering = ("slug",)

    site = AdminSite()
    site.register(Tag, TagAdmin)
    choices: Any = ReplicaAdmin(Post, site).formfield_for_manytomany(Post._meta.get_field("tags"), request_of_root)
    assert (choices.queryset.db, choices.queryset.query.order_by) == ("read_replica_1", ("slug",))


@blog
def test_inlines_are_on_the_alias_of_their_page(request_of_root: Any) -> None:
    (inline,) = ReplicaAdmin(Post, AdminSite()).get_inline_instances(request_of_root)
    assert inline.get_queryset(request_of_root).db == "read_replica_1"
    (inline,) = type("Primary", (ReplicaAdmin,), {"using": None})(Post, AdminSite()).get_inline_instances(
        request_of_root
    )
    assert inline.get_queryset(request_of_root).db == "default"


@blog
@pytest.mark.usefixtures("replicas_share_primary")
def test_what_would_be_deleted_is_collected_on_the_alias(request_of_root: Any) -> None:
    CommentFactory.create(post=PostFactory.create())
    objs = ReplicaAdmin(Post, AdminSite()).get_queryset(request_of_root)
    tree, counts, lacking, protected = ReplicaAdmin(Post, AdminSite()).get_deleted_objects(objs, request_of_root)
    assert counts == {"posts": 1, "comments": 1}
    assert tree == [f"Post: {objs[0]}", [f"Comment: {Comment.objects.get()}"]]
    assert (lacking, protected) == (set(), [])


@blog
def test_admin_of_a_replica_only_views_and_says_why(request_of_root: Any) -> None:
    page = ReplicaAdmin(Post, AdminSite())
    assert page.view_only_because == "View only: this is a replica of default, which is where rows are changed."
    assert page.get_model_perms(request_of_root) == {"add": False, "change": False, "delete": False, "view": True}
    with pytest.raises(PermissionDenied):
        page.changeform_view(request_of_root)


@blog
@pytest.mark.usefixtures("replicas_share_primary")
def test_admin_of_the_primary_writes(request_of_root: Any) -> None:
    page = MultiDBModelAdmin(Tag, AdminSite())
    assert (page.database_alias, page.view_only_because) == ("default", "")
    assert all(page.get_model_perms(request_of_root).values())
    tag = TagFactory.build()
    page.save_model(request_of_root, tag, None, False)
    assert tag._state.db == "default"
    page.delete_queryset(request_of_root, Tag.objects.using("read_replica_1"))
    assert not Tag.objects.exists()


def test_using_an_alias_of_another_cluster_is_a_check_error() -> None:
    (error,) = LostAdmin(Tag, AdminSite()).check()
    assert error.id == "routers.E005"
    assert "users_db" in error.msg
    assert error.hint == "Set `using` to default or read_replica_1."


@pytest.mark.parametrize("using", [None, "default", "read_replica_1"])
def test_using_an_alias_of_the_models_cluster_passes(using: str | None) -> None:
    for base in (MultiDBModelAdmin, ReplicaAdmin):
        assert type("Admin", (base,), {"using": using})(Post, AdminSite()).check() == []


def test_inline_is_checked_too() -> None:
    inline: Any = type("Inline", (MultiDBStackedInline,), {"using": "users_db", "model": Comment})
    page = type("Admin", (MultiDBModelAdmin,), {"inlines": (inline,)})(Post, AdminSite())
    assert [error.id for error in page.check()] == ["routers.E005"]


@isolate_apps("apps.blog")
def test_admin_of_a_shared_app_has_to_say_its_alias(settings: Any) -> None:
    class Message(models.Model):
        class Meta:
            app_label = "outbox"

    settings.SHARED_APPS = {"outbox": ["blog", "users"]}
    page = MultiDBModelAdmin(Message, AdminSite())
    assert [error.id for error in page.check()] == ["routers.E005"]
    with pytest.raises(UnroutedApp, match=r"set `using` on it"):
        page.database_alias  # noqa: B018
    page.using = "users_db"
    assert page.check() == []
    assert page.database_alias == "users_db"
    assert "forms cannot tell which one is meant" in page.view_only_because


def test_site_makes_every_admin_one_for_several_databases() -> None:
    class PlainAdmin(admin.ModelAdmin):
        list_display = ("username",)

    site = MultiDBAdminSite()
    site.register(User, PlainAdmin)
    site.register([Tag])
    site.register(Post, ReplicaAdmin)
    assert isinstance(site.get_model_admin(User), MultiDBModelAdmin)
    assert isinstance(site.get_model_admin(User), PlainAdmin)
    assert site.get_model_admin(User).list_display == ("username",)
    assert isinstance(site.get_model_admin(Tag), MultiDBModelAdmin)
    assert type(site.get_model_admin(Post)) is ReplicaAdmin


@blog
def test_plain_inline_is_left_to_the_router(request_of_root: Any) -> None:
    plain = type("Inline", (admin.TabularInline,), {"model": Comment})
    (inline,) = type("Admin", (MultiDBModelAdmin,), {"inlines": (plain,)})(Post, AdminSite()).get_inline_instances(
        request_of_root
    )
    assert inline.get_queryset(request_of_root).db == "default"
