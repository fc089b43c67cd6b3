"""The system checks, on mistakes of the tests' own."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core.checks import CheckMessage
from django.db import models
from django.test.utils import isolate_apps
from pytest_django import Settings

from apps.users.models import User
from routers.checks import check_topology
from routers.topology import Cluster


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def findings(*found: type[models.Model]) -> list[CheckMessage]:
    """What the checks say when these are all the models there are."""

    class Config:
        label = "blog"

        def get_models(self) -> Iterator[Any]:
            return iter(found)

    return check_topology(app_configs=[Config()])  # type: ignore[list-item]


def test_project_itself_has_no_findings() -> None:
    assert check_topology() == []


def test_app_in_no_cluster_is_an_error_that_names_the_file(settings: Settings) -> None:
    settings.SHARED_APPS = {}
    settings.CLUSTERS = tuple(c for c in settings.CLUSTERS if c.name != "cache")
    error = next(message for message in check_topology() if message.id == "routers.E001")
    assert error.msg == "The app 'cache' has models but no database."
    assert error.hint is not None
    assert "CLUSTERS (config/settings/databases.py)" in error.hint


def test_alias_without_a_cluster_is_an_error(settings: Settings) -> None:
    settings.SHARED_APPS = {}
    settings.CLUSTERS = tuple(c for c in settings.CLUSTERS if c.name != "cache")
    assert "routers.E003" in ids(check_topology())


def test_cluster_without_a_database_is_an_error(settings: Settings) -> None:
    settings.CLUSTERS = (*settings.CLUSTERS, Cluster("shop", primary="shop_db", apps=()))
    assert ids(check_topology()) == ["routers.E002"]


def test_label_that_is_not_installed_is_a_warning(settings: Settings) -> None:
    settings.SHARED_APPS = {**settings.SHARED_APPS, "oubtox": ["blog"]}
    assert ids(check_topology()) == ["routers.W001"]


@isolate_apps("apps.blog", "django.contrib.contenttypes")
def test_real_relations_across_clusters_are_errors() -> None:
    class Crossing(models.Model):
        author = models.ForeignKey(User, models.DO_NOTHING, db_constraint=False, related_name="+")
        owner = models.OneToOneField(User, models.CASCADE, related_name="+")
        readers = models.ManyToManyField(User, related_name="+")
        kind = models.ForeignKey(ContentType, models.CASCADE, related_name="+")
        subject = GenericForeignKey("kind", "id")
        marks = GenericRelation(apps.get_model("admin", "LogEntry"), content_type_field="content_type")

        class Meta:
            app_label = "blog"

    found = findings(Crossing)
    assert ids(found) == ["routers.E004"] * 6
    assert found[0].msg == (
        "blog.Crossing.author relates to users.User across databases: "
        "blog.Crossing is on default, users.User on users_db."
    )


@isolate_apps("apps.blog", "apps.users", "django.contrib.auth", "django.contrib.contenttypes")
def test_proxy_in_another_cluster_than_its_table_is_an_error() -> None:
    class Author(User):
        class Meta:
            proxy = True
            app_label = "blog"

    found = findings(Author)
    assert ids(found) == ["routers.E007"]
    assert found[0].msg == (
        "blog.Author is a proxy of users.User, whose table is on users_db, but its app lives on default."
    )


@isolate_apps("apps.blog")
def test_relation_within_a_cluster_is_no_error() -> None:
    class Note(models.Model):
        post = models.ForeignKey("self", models.CASCADE)

        class Meta:
            app_label = "blog"

    assert findings(Note) == []


@isolate_apps("apps.blog", "django.contrib.contenttypes")
def test_shared_app_may_not_point_into_one_of_its_clusters(settings: Settings) -> None:
    settings.SHARED_APPS = {"outbox": ["blog", "users"]}
    settings.OPTIONAL_APPS = ["outbox", "debug_toolbar"]

    class Message(models.Model):
        author = models.ForeignKey(User, models.CASCADE, related_name="+")

        class Meta:
            app_label = "outbox"

    assert ids(findings(Message)) == ["routers.E004"]


def test_transaction_around_each_request_of_a_replicated_cluster_is_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "routers.W006" not in ids(check_topology())
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)
    assert ids(check_topology()) == ["routers.W006"]


def test_strategy_that_nobody_knows_is_an_error_that_names_those_that_there_are(settings: Settings) -> None:
    settings.REPLICA_STRATEGY = "Round Robin"
    (error,) = check_topology()
    assert (error.id, error.msg) == ("routers.E009", "REPLICA_STRATEGY is 'Round Robin', which is none of ours.")
    assert error.hint == "Set it to one of: 'random', 'round robin'."
