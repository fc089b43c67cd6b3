"""Every table is on its own database and on no other: every installed model on every alias, as the databases say."""

import sqlite3
from contextlib import closing

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models import Model

from routers.topology import topology
from tests.project.conftest import Site

MODELS = [model for model in apps.get_models(include_auto_created=True) if not model._meta.swapped]


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", settings.DATABASES)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_table_is_there_exactly_where_its_app_lives(model: type[Model], alias: str) -> None:
    there = model._meta.db_table in connections[alias].introspection.table_names()
    assert there == (model._meta.app_label in topology().labels_on(alias))


def tables(site: Site, name: str) -> set[str]:
    with closing(sqlite3.connect(site.var / f"{name}.sqlite3")) as database:
        rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {row[0] for row in rows} - {"django_migrations"}


@pytest.mark.parametrize("cluster", settings.CLUSTERS, ids=lambda cluster: cluster.name)
def test_file_of_a_cluster_holds_the_tables_of_its_apps_and_no_others(migrated: Site, cluster: object) -> None:
    labels = topology().labels_on(cluster.primary)  # type: ignore[attr-defined]
    expected = {model._meta.db_table for model in MODELS if model._meta.app_label in labels}
    assert tables(migrated, cluster.name) == expected  # type: ignore[attr-defined]


def test_somebody_elses_schema_gets_not_even_the_table_of_migrations(migrated: Site) -> None:
    with closing(sqlite3.connect(migrated.var / "legacy.sqlite3")) as database:
        found = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'django_migrations'").fetchone()
    assert found == (0,)


@pytest.mark.parametrize("app", ["blog", "users", "analytics", "cache"])
def test_permissions_and_content_types_of_every_app_stand_beside_the_users(migrated: Site, app: str) -> None:
    with closing(sqlite3.connect(migrated.var / "users.sqlite3")) as database:
        found = database.execute(
            "SELECT count(*) FROM auth_permission JOIN django_content_type c ON c.id = content_type_id "
            "WHERE c.app_label = ?",
            [app],
        ).fetchone()
    assert found[0] >= 4
