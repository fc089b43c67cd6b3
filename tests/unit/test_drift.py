"""What the drift check says of SQLite files of the tests' own; tests/servers has the same for real servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags
from django.core.checks.registry import registry
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Lower
from django.db.utils import ConnectionHandler
from django.test.utils import isolate_apps
from pytest_django import DjangoDbBlocker, Settings

from routers.drift import check_drift, drift
from routers.topology import Cluster

ALIAS = "old_db"
COLUMNS = "item_no INTEGER NOT NULL, name VARCHAR(20), price DECIMAL(10,2), made_on DATE NOT NULL"
SCHEMA = f"CREATE TABLE item ({COLUMNS}, PRIMARY KEY (item_no))"


@contextmanager
def connected(config: dict[str, Any], blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection by this entry of DATABASES, known to Django as ALIAS."""
    connection = connections[ALIAS] = ConnectionHandler({DEFAULT_DB_ALIAS: {}, ALIAS: config})[ALIAS]
    try:
        with blocker.unblock():
            yield connection
    finally:
        connection.close()
        del connections[ALIAS]


@pytest.fixture
def old(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    config = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "old.sqlite3"}
    with connected(config, django_db_blocker) as connection:
        yield connection


@pytest.fixture
def item() -> Iterator[Any]:
    with isolate_apps("routers"):

        class Item(models.Model):
            item_no = models.IntegerField(primary_key=True)
            name = models.CharField(max_length=20, null=True)
            price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
            made_on = models.DateField()

            class Meta:
                app_label = "routers"
                db_table = "item"
                managed = False

        yield Item


class OwnField(models.Field):
    """Of a type that Django does not have."""

    def db_type(self, connection: Any) -> str:
        return "text"


def with_every_field() -> Any:
    """A model with a column of each of Django's types, and of one of somebody's own. Call it in isolate_apps()."""

    class Everything(models.Model):
        id = models.BigAutoField(primary_key=True)
        parent = models.ForeignKey("self", models.CASCADE)
        code = models.SlugField(unique=True)
        same_code = models.ForeignKey("self", models.CASCADE, to_field="code", related_name="+")
        big, small = models.BigIntegerField(), models.SmallIntegerField()
        positive, positive_small = models.PositiveIntegerField(), models.PositiveSmallIntegerField()
        positive_big = models.PositiveBigIntegerField()
        yes, ratio = models.BooleanField(), models.FloatField()
        whole = models.DecimalField(max_digits=8, decimal_places=0)
        email, url, file, path = models.EmailField(), models.URLField(), models.FileField(), models.FilePathField()
        text, document, binary = models.TextField(), models.JSONField(), models.BinaryField()
        day, moment, time = models.DateField(), models.DateTimeField(), models.TimeField()
        span, address, key = models.DurationField(), models.GenericIPAddressField(), models.UUIDField()
        lower = models.GeneratedField(
            expression=Lower("email"), output_field=models.CharField(max_length=254), db_persist=True
        )
        own = OwnField()

        class Meta:
            app_label = "routers"

    return Everything


def execute(connection: BaseDatabaseWrapper, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def said(messages: list[CheckMessage]) -> list[tuple[str | None, str]]:
    return [(message.id, message.msg) for message in messages]


def test_schema_that_the_model_expects_gives_nothing(old: BaseDatabaseWrapper, item: Any) -> None:
    execute(old, SCHEMA)
    assert drift(old, [item]) == []


# What is replaced in SCHEMA by what; the number of the error; what it says is expected; what it says is there.
CHANGES = [
    ("name VARCHAR(20), ", "", 12, "Item.name expects the column item.name", "there is no such column"),
    (
        *("VARCHAR(20)", "VARCHAR(30)", 13),
        *("Item.name expects the column item.name to be CharField(max_length=20)", "it is CharField(max_length=30)"),
    ),
    (
        *("VARCHAR(20)", "CHAR(8)", 13),
        *("Item.name expects the column item.name to be CharField(max_length=20)", "it is CharField(max_length=8)"),
    ),
    (
        *("DECIMAL(10,2)", "DECIMAL(12,3)", 13),
        "Item.price expects the column item.price to be DecimalField(max_digits=10, decimal_places=2)",
        "it is DecimalField(max_digits=12, decimal_places=3)",
    ),
    ("DATE ", "DATETIME ", 13, "Item.made_on expects the column item.made_on to be DateField", "it is DateTimeField"),
    (
        *("item_no INTEGER", "item_no TEXT", 13),
        *("Item.item_no expects the column item.item_no to be IntegerField", "it is TextField"),
    ),
    (
        *("DATE ", "YEAR ", 13),
        "Item.made_on expects the column item.made_on to be DateField",
        "it is YEAR, for which Django has no field",
    ),
    ("DATE NOT NULL", "DATE", 14, "Item.made_on expects the column item.made_on to be NOT NULL", "it is NULL"),
    ("(20)", "(20) NOT NULL", 14, "Item.name expects the column item.name to be NULL", "it is NOT NULL"),
    (", PRIMARY KEY (item_no)", "", 15, "Item expects the primary key of item to be (item_no)", "there is none"),
    (
        "(item_no)",
        "(item_no, name)",
        15,
        "Item expects the primary key of item to be (item_no)",
        "it is (item_no, name)",
    ),
]


@pytest.mark.parametrize(("before", "after", "number", "expected", "there"), CHANGES)
def test_each_change_is_reported_by_name(
    old: BaseDatabaseWrapper, item: Any, before: str, after: str, number: int, expected: str, there: str
) -> None:
    execute(old, SCHEMA.replace(before, after))
    assert said(drift(old, [item])) == [(f"routers.E0{number}", f"routers.{expected} on old_db, but {there}.")]


def test_missing_table_is_one_error_with_what_to_do(old: BaseDatabaseWrapper, item: Any) -> None:
    (error,) = drift(old, [item])
    assert said([error]) == [
        ("routers.E011", "routers.Item expects the table item on old_db, but there is no such table.")
    ]
    assert error.hint == (
        "Change the model to what is there (`manage.py inspectdb --database old_db item` writes it out), "
        "or ask the owner of the schema whether it is meant."
    )


def test_what_sqlite_need_not_say_is_not_reported(old: BaseDatabaseWrapper, item: Any) -> None:
    """A size, and that a key is never NULL; and names of another case are the same names."""
    execute(old, "CREATE TABLE ITEM (Item_No BIGINT PRIMARY KEY, NAME VARCHAR, price DECIMAL, made_on DATE NOT NULL)")
    assert drift(old, [item]) == []


def test_view_is_compared_by_its_columns_alone(old: BaseDatabaseWrapper, item: Any) -> None:
    execute(old, SCHEMA.replace("TABLE item", "TABLE goods"), "CREATE VIEW item AS SELECT * FROM goods")
    assert drift(old, [item]) == []
    execute(old, "DROP VIEW item", "CREATE VIEW item AS SELECT item_no, name, price FROM goods")
    assert [message.id for message in drift(old, [item])] == ["routers.E012"]


@isolate_apps("routers")
def test_table_that_django_made_has_not_drifted(old: BaseDatabaseWrapper) -> None:
    everything = with_every_field()
    with old.schema_editor() as editor:
        editor.create_model(everything)

    class Proxy(everything):  # type: ignore[misc,valid-type]
        class Meta:
            app_label = "routers"
            proxy = True

    assert drift(old, [everything, Proxy]) == []


def test_database_that_cannot_be_asked_is_one_error(old: BaseDatabaseWrapper, tmp_path: Path, item: Any) -> None:
    old.settings_dict["NAME"] = tmp_path / "no such folder/old.sqlite3"
    assert said(drift(old, [item])) == [
        ("routers.E010", "The tables of old_db could not be compared with the models: unable to open database file")
    ]


@pytest.mark.usefixtures("old")
def test_check_looks_at_named_aliases_of_read_only_clusters(item: Any, settings: Settings) -> None:
    class Config:
        label = "routers"

        def get_models(self, **kwargs: Any) -> Iterator[Any]:
            return iter([item])

    def ids(databases: list[str] | None) -> list[str | None]:
        return [message.id for message in check_drift([Config()], databases)]  # type: ignore[list-item]

    cluster = Cluster("old", primary=ALIAS, apps=("routers",), read_only=True)
    settings.CLUSTERS = (*settings.CLUSTERS, cluster)
    assert ids([ALIAS, ALIAS]) == ["routers.E011"]
    assert ids(None) == ids(["users_db"]) == []
    settings.SHARED_APPS = {}
    settings.CLUSTERS = (Cluster("old", primary=ALIAS, apps=("users",), read_only=True),)
    assert ids([ALIAS]) == []
    settings.CLUSTERS = (Cluster("old", primary=ALIAS, apps=("routers",)),)
    assert ids([ALIAS]) == []


def test_check_runs_with_databases_only() -> None:
    found: list[Any] = [check for check in registry.get_checks() if "check_drift" in repr(check)]
    assert [check.tags for check in found] == [(Tags.database,)]
