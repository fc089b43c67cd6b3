import pytest
from django.apps import apps
from django.conf import settings
from django.db import connections

TABLES = {"customers", "ord_hdr", "ord_line"}


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", settings.DATABASES)
def test_tables_of_the_old_system_are_on_legacy_db_and_nowhere_else(alias: str) -> None:
    there = TABLES & set(connections[alias].introspection.table_names())
    assert there == (TABLES if alias == "legacy_db" else set())


@pytest.mark.django_db(databases=["legacy_db"])
@pytest.mark.parametrize("model", list(apps.get_app_config("legacy").get_models()), ids=lambda model: model.__name__)
def test_every_column_of_a_model_is_in_the_committed_schema(model: type) -> None:
    options = model._meta  # type: ignore[attr-defined]
    with connections["legacy_db"].cursor() as cursor:
        columns = connections["legacy_db"].introspection.get_table_description(cursor, options.db_table)
    assert {column.name for column in columns} == {field.column for field in options.concrete_fields if field.column}
