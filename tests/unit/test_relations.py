"""The field as a class: what it is made of, and what the checks say of it. tests/apps/blog has it at work."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, models
from django.db.migrations.writer import MigrationWriter
from django.db.models.signals import post_delete
from django.test.utils import isolate_apps

from apps.blog.models import Post, UserProfile
from apps.users.models import User
from routers import signals
from routers.relations import (
    CASCADE,
    KEEP,
    SET_NULL,
    SPARE_PARAMETERS,
    CrossDatabaseForeignKey,
    CrossDatabaseOneToOneField,
    chunks,
    fields_to,
)
from tests.factories.users import UserFactory
from tests.unit.test_checks import findings


@pytest.mark.parametrize("policy", [models.CASCADE, models.DO_NOTHING, models.SET_NULL, "restrict", None])
def test_foreign_policy_is_refused_with_what_to_write_instead(policy: Any) -> None:
    with pytest.raises(TypeError, match="takes KEEP, CASCADE or SET_NULL"):
        CrossDatabaseForeignKey("users.User", on_delete=policy)


@pytest.mark.parametrize("policy", [KEEP, CASCADE, SET_NULL])
@pytest.mark.parametrize("kind", [CrossDatabaseForeignKey, CrossDatabaseOneToOneField])
def test_field_is_written_into_migrations_as_it_was_declared(policy: str, kind: Any) -> None:
    field = kind("users.User", on_delete=policy, related_name="things", null=True)
    text, imports = MigrationWriter.serialize(field)
    assert text == (
        f"routers.relations.{kind.__name__}(null=True, on_delete='{policy}', related_name='things', "
        "to=settings.AUTH_USER_MODEL)"
    )
    assert "import routers.relations" in imports
    again = field.clone()
    assert again.deconstruct() == field.deconstruct()
    assert (again.policy, again.remote_field.on_delete, again.db_constraint) == (policy, models.DO_NOTHING, False)


def test_class_gives_the_descriptor() -> None:
    author: Any = Post.author
    assert author.field is Post._meta.get_field("author")


def test_constraint_cannot_be_asked_for() -> None:
    field: Any = CrossDatabaseForeignKey("users.User", on_delete=KEEP, db_constraint=True)
    assert not field.db_constraint


def test_column_has_the_name_and_the_type_of_the_id() -> None:
    for model, name in ((Post, "author"), (UserProfile, "user")):
        field: Any = model._meta.get_field(name)
        assert field.column == f"{name}_id"
        assert field.db_type(connections["default"]) == models.BigIntegerField().db_type(connections["default"])


@isolate_apps("apps.blog")
def test_checks_accept_it_across_databases() -> None:
    class Note(models.Model):
        author = CrossDatabaseForeignKey(User, on_delete=KEEP, related_name="+")

        class Meta:
            app_label = "blog"

    assert findings(Note) == []


@isolate_apps("apps.blog")
def test_checks_warn_of_it_within_a_database() -> None:
    class Note(models.Model):
        post = CrossDatabaseForeignKey(Post, on_delete=KEEP, related_name="+")

        class Meta:
            app_label = "blog"

    (warning,) = findings(Note)
    assert warning.id == "routers.W005"
    assert warning.msg == "blog.Note.post relates to blog.Post as if across databases, but both are on default."


@isolate_apps("apps.blog")
def test_set_null_needs_null() -> None:
    class Note(models.Model):
        author = CrossDatabaseForeignKey(User, on_delete=SET_NULL, related_name="+")
        owner = CrossDatabaseForeignKey(User, on_delete=SET_NULL, related_name="+", null=True)

        class Meta:
            app_label = "blog"

    assert [(error.id, error.obj) for error in Note.check() if str(error.id).startswith("routers")] == [
        ("routers.E008", Note._meta.get_field("author"))
    ]


@pytest.mark.django_db
def test_chunk_leaves_room_in_the_statement_for_more() -> None:
    parts = list(chunks(range(2_000), "default"))
    limit = connections["default"].features.max_query_params or 1_000
    assert [value for part in parts for value in part] == list(range(2_000))
    assert len(parts) == 3
    assert max(map(len, parts)) <= limit - SPARE_PARAMETERS
    assert list(chunks([], "default")) == []


@isolate_apps("apps.users", "django.contrib.auth", "django.contrib.contenttypes")
def test_fields_that_point_at_a_model_point_at_its_proxies() -> None:
    class Editor(User):
        class Meta:
            proxy = True
            app_label = "users"

    assert {str(field) for field in fields_to(User)} >= {"blog.Post.author", "blog.UserProfile.user"}
    assert fields_to(Editor) == fields_to(User)
    assert fields_to(Post) == []


@pytest.mark.django_db(databases=["users_db"])
@isolate_apps("apps.users", "django.contrib.auth", "django.contrib.contenttypes")
def test_deleted_proxy_is_announced_as_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Editor(User):
        class Meta:
            proxy = True
            app_label = "users"

    announced = []

    def note(**kwargs: Any) -> None:
        announced.append((kwargs["sender"], kwargs["field"].name))

    monkeypatch.setattr(signals, "apps", SimpleNamespace(get_models=lambda: [Editor]))
    signals.connect()
    signals.referenced_row_deleted.connect(note)
    try:
        Editor.objects.get(pk=UserFactory.create().pk).delete()
    finally:
        signals.referenced_row_deleted.disconnect(note)
        post_delete.disconnect(sender=Editor, dispatch_uid="routers.signals")
    assert (User, "author") in announced
    assert len(announced) == len(fields_to(User))
