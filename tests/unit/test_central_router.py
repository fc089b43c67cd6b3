"""What the router answers. What the databases then hold is tested in tests/project/test_placement.py."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.db import router as chain
from pytest_django import Settings

from apps.analytics.models import AnalyticsEvent
from apps.blog.models import Post, Tag
from apps.legacy.models import LegacyCustomer
from apps.users.models import User
from routers.central import DatabaseRouter, ReadOnlyDatabase
from routers.state import routing_state
from routers.topology import AmbiguousDatabase, UnroutedApp

router = DatabaseRouter()


def stranger(app_label: str) -> Any:
    """A model-like of an app that is not installed."""
    meta = SimpleNamespace(app_label=app_label, label=f"{app_label}.Thing", db_table=f"{app_label}_thing")
    return SimpleNamespace(_meta=meta)


def stored(model: type[Any], alias: str) -> Any:
    instance = model()
    instance._state.db = alias
    return instance


@pytest.mark.parametrize(
    ("model", "alias"), [(Post, "default"), (User, "users_db"), (Session, "users_db"), (AnalyticsEvent, "analytics_db")]
)
def test_model_is_read_and_written_on_the_primary_of_its_cluster(model: Any, alias: str) -> None:
    assert chain.db_for_read(model) == alias
    assert chain.db_for_write(model) == alias


def test_row_that_was_read_from_a_replica_is_saved_to_its_primary() -> None:
    assert chain.db_for_write(Post, instance=stored(Post, "read_replica_1")) == "default"


def test_legacy_is_read_but_a_write_is_refused_with_the_reason() -> None:
    assert chain.db_for_read(LegacyCustomer) == "legacy_db"
    with pytest.raises(ReadOnlyDatabase, match=r"legacy\.LegacyCustomer cannot be written: legacy_db is declared read"):
        chain.db_for_write(LegacyCustomer)


def test_app_without_a_cluster_raises_and_does_not_fall_through_to_default() -> None:
    with pytest.raises(UnroutedApp, match=r"shop\.Thing has no database.*config/settings/databases\.py"):
        router.db_for_read(stranger("shop"))
    with pytest.raises(UnroutedApp):
        router.db_for_write(stranger("shop"))


def test_relation_within_a_cluster_is_allowed_between_primary_and_replica() -> None:
    assert router.allow_relation(stored(Post, "default"), stored(Tag, "read_replica_1")) is True
    assert router.allow_relation(Post(), Tag()) is True


def test_relation_across_clusters_is_refused() -> None:
    assert router.allow_relation(Post(), User()) is False
    assert router.allow_relation(stored(Post, "default"), stored(User, "users_db")) is False


@pytest.fixture
def shared(settings: Settings) -> Any:
    settings.SHARED_APPS = {"outbox": ["blog", "users"]}
    return stranger("outbox")


def test_shared_app_asks_for_using(shared: Any) -> None:
    with pytest.raises(
        AmbiguousDatabase, match=r"has a table in each of default, users_db\. Say which one with using="
    ):
        router.db_for_write(shared)


def test_shared_app_stays_where_its_instance_came_from(shared: Any) -> None:
    assert router.db_for_write(shared, instance=stored(User, "users_db")) == "users_db"
    assert router.db_for_read(shared, instance=stored(Post, "read_replica_1")) == "default"


def test_shared_app_does_not_follow_an_instance_to_a_cluster_without_its_table(shared: Any) -> None:
    with pytest.raises(AmbiguousDatabase):
        router.db_for_write(shared, instance=stored(AnalyticsEvent, "analytics_db"))


def test_shared_app_is_migrated_on_its_clusters_and_nowhere_else(shared: Any, settings: Settings) -> None:
    allowed = {alias for alias in settings.DATABASES if router.allow_migrate(alias, "outbox")}
    assert allowed == {"default", "users_db"}


def test_unsaved_shared_instances_have_no_place_in_common(shared: Any) -> None:
    assert router.allow_relation(SimpleNamespace(_meta=shared._meta, _state=None), Post()) is False  # type: ignore[arg-type]


def test_app_is_migrated_on_its_primary_and_nowhere_else(settings: Settings) -> None:
    assert {alias for alias in settings.DATABASES if router.allow_migrate(alias, "blog", "post")} == {"default"}


def test_model_name_may_be_camel_case_or_missing() -> None:
    assert router.allow_migrate("default", "blog", "Post") is True
    assert router.allow_migrate("default", "blog") is True


def test_legacy_and_unknown_apps_are_migrated_nowhere(settings: Settings) -> None:
    for alias in settings.DATABASES:
        assert router.allow_migrate(alias, "legacy") is False
        assert router.allow_migrate(alias, "shop") is False


def test_operation_for_another_engine_is_left_out() -> None:
    assert router.allow_migrate("users_db", "users", target_vendor="postgresql") is False
    assert router.allow_migrate("users_db", "users", target_vendor="sqlite") is True


def test_operation_with_a_target_runs_only_there() -> None:
    assert router.allow_migrate("users_db", "users", target_db="users_db") is True
    assert router.allow_migrate("default", "users", target_db="users_db") is False


@pytest.mark.parametrize("target", ["default", "users_replica_1", "nowhere"])
def test_target_that_is_not_a_home_of_the_app_is_an_error(target: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"'target_db': '{target}'.*that app's tables are on users_db"):
        router.allow_migrate("users_db", "users", target_db=target)


def test_each_decision_is_recorded_with_its_reason() -> None:
    with routing_state() as state:
        chain.db_for_read(Post)
    assert state.reason_for("default", "blog_post") == "app: blog lives on default"
    assert state.reason_for("default", "blog_tag") is None


def test_states_nest_and_outside_there_is_none() -> None:
    with routing_state() as outer:
        with routing_state() as inner:
            chain.db_for_read(Post)
        assert inner.decisions
        assert not outer.decisions
    chain.db_for_read(Post)
    assert not outer.decisions
