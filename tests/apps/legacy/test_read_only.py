"""Every way to write that Django has ends in ReadOnlyDatabase, and the row is as it was."""

from collections.abc import Callable

import pytest
from django.db import connections

from apps.legacy.models import LegacyCustomer, LegacyOrder
from routers.central import ReadOnlyDatabase
from tests.apps.legacy.conftest import OldSystem

pytestmark = pytest.mark.django_db(databases=["legacy_db"])

ALIAS = "legacy_db"
everybody = LegacyCustomer.objects


def ann() -> LegacyCustomer:
    return LegacyCustomer.objects.get(pk=1)


def cursor(sql: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql)


def executemany(sql: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.executemany(sql, [["x"]])


def inside_a_wrapper() -> None:
    """A connection made inside somebody else's wrapper block keeps its guard when the block ends."""
    connection = connections[ALIAS].copy()
    try:
        with connection.execute_wrapper(lambda execute, *args: execute(*args)):
            connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE customers SET city = 'x'")
    finally:
        connection.connection.close()  # Django leaves a database in memory open


WRITES: dict[str, Callable[[], object]] = {
    "save": lambda: ann().save(),
    "save a new one": lambda: LegacyCustomer(pk=2).save(),
    "save using": lambda: ann().save(using=ALIAS),
    "save update_fields": lambda: ann().save(using=ALIAS, update_fields=["city"]),
    "force_insert": lambda: LegacyCustomer(pk=2).save(using=ALIAS, force_insert=True),
    "delete": lambda: ann().delete(),
    "delete using": lambda: ann().delete(using=ALIAS),
    "create": lambda: everybody.create(pk=2),
    "create using": lambda: everybody.using(ALIAS).create(pk=2),
    "create db_manager": lambda: everybody.db_manager(ALIAS).create(pk=2),
    "get_or_create": lambda: everybody.using(ALIAS).get_or_create(pk=2),
    "update_or_create": lambda: everybody.using(ALIAS).update_or_create(pk=1, defaults={"city": "x"}),
    "bulk_create": lambda: everybody.bulk_create([LegacyCustomer(pk=2)]),
    "bulk_create using": lambda: everybody.using(ALIAS).bulk_create([LegacyCustomer(pk=2)], ignore_conflicts=True),
    "bulk_update": lambda: everybody.bulk_update([ann()], ["city"]),
    "bulk_update using": lambda: everybody.using(ALIAS).bulk_update([ann()], ["city"]),
    "update": lambda: everybody.update(city="x"),
    "update using": lambda: everybody.using(ALIAS).update(city="x"),
    "update a filtered one": lambda: everybody.using(ALIAS).filter(pk=1).update(city="x"),
    "queryset delete": lambda: everybody.all().delete(),
    "queryset delete using": lambda: everybody.using(ALIAS).all().delete(),
    "raw delete": lambda: LegacyOrder.objects.using(ALIAS).all()._raw_delete(ALIAS),
    "related create": lambda: ann().orders.create(pk=9),
    "related set": lambda: ann().orders.set([], clear=True),
    "select_for_update": lambda: list(everybody.select_for_update()),
    "raw query": lambda: list(everybody.raw("UPDATE customers SET city = 'x' RETURNING *")),
    "cursor insert": lambda: cursor("INSERT INTO customers (customer_id) VALUES (2)"),
    "cursor update": lambda: cursor("  update customers set city = 'x'"),
    "cursor delete": lambda: cursor("DELETE FROM customers"),
    "cursor replace": lambda: cursor("REPLACE INTO customers (customer_id) VALUES (1)"),
    "cursor drop": lambda: cursor("DROP TABLE customers"),
    "cursor cte": lambda: cursor("WITH n AS (SELECT 1) REPLACE INTO customers (customer_id) SELECT 1 FROM n"),
    "cursor comment": lambda: cursor("/* x */ DELETE FROM customers"),
    "executemany": lambda: executemany("UPDATE customers SET city = %s"),
    "inside a wrapper": inside_a_wrapper,
}


@pytest.mark.parametrize("way", WRITES)
def test_write_is_refused_with_the_reason_and_changes_nothing(old: OldSystem, way: str) -> None:
    old.customer(1, "Ann", city="Turku")
    old.order(1, 1)
    with pytest.raises(ReadOnlyDatabase, match=r"legacy_db.* read only in CLUSTERS, because its schema and its rows"):
        WRITES[way]()
    assert old.execute("SELECT customer_id, customer_name, city FROM customers") == [(1, "Ann", "Turku")]
    assert old.execute("SELECT ord_no, customer_id FROM ord_hdr") == [(1, 1)]


def test_refusal_says_what_was_sent_from_where_and_what_passes(old: OldSystem) -> None:
    with pytest.raises(ReadOnlyDatabase) as caught:
        cursor("DELETE FROM customers")
    message = str(caught.value)
    assert message.startswith(f"DELETE FROM customers was sent to legacy_db at {__file__}:")
    assert "Change them there." in message


def test_reads_of_every_kind_still_work(old: OldSystem) -> None:
    old.customer(1, "Ann")
    assert everybody.using(ALIAS).filter(customer_name="Ann").exists()
    assert [customer.pk for customer in everybody.raw("SELECT * FROM customers")] == [1]
    assert everybody.all().explain()
    assert [customer.pk for customer in everybody.order_by().union(everybody.order_by())] == [1]
    cursor('/* told first */ SELECT 1 AS "update"')
