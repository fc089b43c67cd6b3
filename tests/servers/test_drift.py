"""The drift check on real servers: each change is made by ALTER TABLE, on a copy of the tables."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import isolate_apps
from pytest_django import DjangoDbBlocker

from apps.legacy.models import LegacyCustomer, LegacyOrder, LegacyOrderLine
from config.settings.databases import parse_url
from routers.drift import drift
from tests.browser.conftest import free_port
from tests.project.conftest import Site
from tests.servers.processes import PASSWORD, MySQL, Postgres
from tests.unit.test_drift import ALIAS, connected, execute, said, with_every_field

LEGACY = (LegacyCustomer, LegacyOrder, LegacyOrderLine)
_numbers = count(1)


@pytest.fixture
def url(mysql: MySQL) -> str:
    """That of a database with the tables of the old system, empty."""
    name = f"drift_{next(_numbers)}"
    with closing(mysql.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {name}")
        for model in LEGACY:
            cursor.execute(f"CREATE TABLE {name}.{model._meta.db_table} LIKE legacy.{model._meta.db_table}")
    return mysql.url(name)


@pytest.fixture
def old(url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    with connected(parse_url("URL", url), django_db_blocker) as connection:
        yield connection


@pytest.fixture
def old_postgres(postgres: Postgres, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    name = postgres.create_database(f"drift_{next(_numbers)}")
    with connected(parse_url("URL", postgres.url(name)), django_db_blocker) as connection:
        yield connection


ORDER, LINE = "legacy.LegacyOrder", "legacy.LegacyOrderLine"
MYSQL = [
    ("DROP TABLE ord_line", 11, f"{LINE} expects the table ord_line", "there is no such table"),
    (
        *("ALTER TABLE ord_hdr DROP ord_rem", 12),
        *(f"{ORDER}.remark expects the column ord_hdr.ord_rem", "there is no such column"),
    ),
    (
        *("ALTER TABLE ord_line MODIFY qty BIGINT", 13),
        *(f"{LINE}.quantity expects the column ord_line.qty to be IntegerField", "it is BigIntegerField"),
    ),
    (
        *("ALTER TABLE ord_hdr MODIFY customer_id INT UNSIGNED", 13),
        f"{ORDER}.customer expects the column ord_hdr.customer_id to be IntegerField",
        "it is PositiveIntegerField",
    ),
    (
        *("ALTER TABLE ord_hdr MODIFY ord_dt DATETIME", 13),
        *(f"{ORDER}.ordered_on expects the column ord_hdr.ord_dt to be DateField", "it is DateTimeField"),
    ),
    (
        *("ALTER TABLE ord_hdr MODIFY ord_dt YEAR", 13),
        f"{ORDER}.ordered_on expects the column ord_hdr.ord_dt to be DateField",
        "it is year, for which Django has no field",
    ),
    (
        *("ALTER TABLE ord_hdr MODIFY ord_stat VARCHAR(4)", 13),
        f"{ORDER}.status expects the column ord_hdr.ord_stat to be CharField(max_length=2)",
        "it is CharField(max_length=4)",
    ),
    (
        *("ALTER TABLE ord_line MODIFY unit_prc DECIMAL(12,4)", 13),
        f"{LINE}.unit_price expects the column ord_line.unit_prc to be DecimalField(max_digits=10, decimal_places=2)",
        "it is DecimalField(max_digits=12, decimal_places=4)",
    ),
    (
        *("ALTER TABLE ord_hdr MODIFY ord_dt DATE NOT NULL", 14),
        *(f"{ORDER}.ordered_on expects the column ord_hdr.ord_dt to be NULL", "it is NOT NULL"),
    ),
    (
        *("ALTER TABLE ord_line DROP PRIMARY KEY", 15),
        *(f"{LINE} expects the primary key of ord_line to be (ord_no, line_no)", "there is none"),
    ),
    (
        *("ALTER TABLE ord_line DROP PRIMARY KEY, ADD PRIMARY KEY (ord_no)", 15),
        *(f"{LINE} expects the primary key of ord_line to be (ord_no, line_no)", "it is (ord_no)"),
    ),
]


@pytest.mark.parametrize(("change", "number", "expected", "there"), MYSQL, ids=[case[0] for case in MYSQL])
def test_mysql_reports_each_change_by_name(
    old: BaseDatabaseWrapper, change: str, number: int, expected: str, there: str
) -> None:
    execute(old, change)
    assert said(drift(old, LEGACY)) == [(f"routers.E0{number}", f"{expected} on {ALIAS}, but {there}.")]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE ord_hdr MODIFY ord_stat CHAR(2)",
        "ALTER TABLE ord_line MODIFY qty MEDIUMINT",
        "ALTER TABLE ord_line MODIFY qty INTEGER CHECK (qty > 0)",
        "ALTER TABLE customers MODIFY city VARCHAR(80) CHARACTER SET latin1",
        "ALTER TABLE customers CHANGE cust_stat CUST_STAT VARCHAR(1)",
        "ALTER TABLE customers ADD telephone VARCHAR(20) NOT NULL",
        "ALTER TABLE customers DROP INDEX ix_customers_email",
    ],
)
def test_mysql_change_that_no_model_minds_is_not_reported(old: BaseDatabaseWrapper, change: str) -> None:
    execute(old, change)
    assert drift(old, LEGACY) == []


T = "routers_everything"
POSTGRESQL = [
    (f"ALTER TABLE {T} RENAME TO gone", 11, f" expects the table {T}", "there is no such table"),
    (f"ALTER TABLE {T} RENAME ratio TO rate", 12, f".ratio expects the column {T}.ratio", "there is no such column"),
    (
        *(f"ALTER TABLE {T} ALTER big TYPE integer", 13),
        *(f".big expects the column {T}.big to be BigIntegerField", "it is IntegerField"),
    ),
    (
        *(f"ALTER TABLE {T} ALTER url TYPE varchar", 13),
        *(f".url expects the column {T}.url to be CharField(max_length=200)", "it is CharField"),
    ),
    (
        *(f"ALTER TABLE {T} ALTER url TYPE varchar(100)", 13),
        *(f".url expects the column {T}.url to be CharField(max_length=200)", "it is CharField(max_length=100)"),
    ),
    (
        *(f"ALTER TABLE {T} ALTER whole TYPE numeric(9, 1)", 13),
        f".whole expects the column {T}.whole to be DecimalField(max_digits=8, decimal_places=0)",
        "it is DecimalField(max_digits=9, decimal_places=1)",
    ),
    (
        *(f"ALTER TABLE {T} ALTER day TYPE timestamptz", 13),
        *(f".day expects the column {T}.day to be DateField", "it is DateTimeField"),
    ),
    (
        *(f"ALTER TABLE {T} ALTER document TYPE text", 13),
        *(f".document expects the column {T}.document to be JSONField", "it is TextField"),
    ),
    (
        *(f"ALTER TABLE {T} ALTER text TYPE text[] USING ARRAY[text]", 13),
        *(f".text expects the column {T}.text to be TextField", "it is text[], for which Django has no field"),
    ),
    (
        *(f"ALTER TABLE {T} ALTER yes DROP NOT NULL", 14),
        *(f".yes expects the column {T}.yes to be NOT NULL", "it is NULL"),
    ),
    (
        *(f"ALTER TABLE {T} DROP CONSTRAINT {T}_pkey CASCADE", 15),
        *(f" expects the primary key of {T} to be (id)", "there is none"),
    ),
]


@isolate_apps("routers")
@pytest.mark.parametrize(("change", "number", "expected", "there"), POSTGRESQL, ids=[case[0] for case in POSTGRESQL])
def test_postgresql_reports_each_change_by_name(
    old_postgres: BaseDatabaseWrapper, change: str, number: int, expected: str, there: str
) -> None:
    everything = with_every_field()
    with old_postgres.schema_editor() as editor:
        editor.create_model(everything)
    execute(old_postgres, change)
    messages = [(f"routers.E0{number}", f"routers.Everything{expected} on {ALIAS}, but {there}.")]
    assert said(drift(old_postgres, [everything])) == messages


@isolate_apps("routers")
@pytest.mark.parametrize("server", ["old", "old_postgres"])
def test_table_that_django_made_has_not_drifted(request: pytest.FixtureRequest, server: str) -> None:
    connection, everything = request.getfixturevalue(server), with_every_field()
    with connection.schema_editor() as editor:
        editor.create_model(everything)
    assert drift(connection, [everything]) == []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "var")


def test_command_finds_nothing_in_the_old_system_itself(mysql: MySQL, site: Site) -> None:
    site.env["LEGACY_DATABASE_URL"] = mysql.url()
    assert "no issues" in site.manage("check", "--database", "legacy_db")


def test_command_reports_what_has_drifted_only_when_the_alias_is_named(
    old: BaseDatabaseWrapper, url: str, site: Site
) -> None:
    execute(old, "ALTER TABLE ord_hdr DROP ord_rem")
    site.env["LEGACY_DATABASE_URL"] = url
    said = site.manage("check", "--database", "legacy_db", status=1)
    assert "(routers.E012) legacy.LegacyOrder.remark expects the column ord_hdr.ord_rem on legacy_db" in said
    assert "1 issue " in said
    assert "no issues" in site.manage("check")
    assert "no issues" in site.manage("check", "users", "--database", "legacy_db")


@pytest.mark.parametrize("scheme", ["mysql", "postgres"])
@pytest.mark.usefixtures("mysql")  # where there is no driver, the settings refuse its URL
def test_server_that_cannot_be_reached_is_one_error_and_no_traceback(site: Site, scheme: str) -> None:
    site.env["LEGACY_DATABASE_URL"] = f"{scheme}://app:{PASSWORD}@127.0.0.1:{free_port()}/legacy"
    said = site.manage("check", "--database", "legacy_db", status=1)
    assert said.count("routers.E010") == 1
    assert "The tables of legacy_db could not be compared with the models: " in said
    assert "Traceback" not in said
    assert PASSWORD not in said
    assert ("routers.W003" in said) is (scheme == "mysql")
