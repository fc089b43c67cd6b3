"""Customers as CSV, made while it is sent."""

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

from django.db.models import QuerySet

from apps.legacy.models import LegacyCustomer
from apps.legacy.selectors import batches

HEADER = ["number", "name", "email", "created", "status", "city", "country", "orders", "total"]
# A spreadsheet takes a cell that begins with one of these for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_chunks(customers: QuerySet[LegacyCustomer]) -> Iterator[str]:
    """The file in pieces: the header, then one piece for each batch of customers."""
    yield _csv([HEADER])
    for batch in batches(customers):
        yield _csv([_row(customer) for customer in batch])


def defused(value: str | None) -> str:
    """Text as a cell that no spreadsheet runs: one that looks like a formula gets an apostrophe in front."""
    text = (value or "").rstrip(" ")
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def _row(customer: Any) -> list[object]:
    text = (customer.status, customer.city, customer.country)
    return [
        customer.customer_id,
        defused(customer.customer_name),
        defused(customer.customer_email),
        customer.created_date,
        *map(defused, text),
        customer.order_count,
        None if customer.total is None else f"{customer.total:.2f}",
    ]


def _csv(rows: list[Any]) -> str:
    buffer = StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
