"""Rows of the old system. Django may not write them, in tests either, so the driver does, inside the test's own
transaction."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from django.db import connections


class OldSystem:
    """Stands for the program that owns the tables."""

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        connection = connections["legacy_db"]
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            sql = sql.replace("%s", "?")
        with closing(connection.connection.cursor()) as driver:
            driver.execute(sql, values)
            return list(driver.fetchall())

    def insert(self, table: str, **values: object) -> None:
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        self.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def customer(self, customer_id: int, name: str | None = None, **values: object) -> None:
        self.insert("customers", customer_id=customer_id, customer_name=name, **values)

    def order(
        self, ord_no: int, customer_id: int | None, *lines: tuple[int | None, str | None], **values: object
    ) -> None:
        """An order with lines of (quantity, price)."""
        self.insert("ord_hdr", ord_no=ord_no, customer_id=customer_id, **values)
        for line_no, (qty, unit_prc) in enumerate(lines, start=1):
            self.insert("ord_line", ord_no=ord_no, line_no=line_no, item_cd="X", qty=qty, unit_prc=unit_prc)


@pytest.fixture
def old(db: None) -> OldSystem:
    """For tests marked django_db with legacy_db among their databases."""
    return OldSystem()
