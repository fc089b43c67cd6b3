import csv
from io import StringIO

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.legacy.export import HEADER, defused
from apps.legacy.models import LegacyCustomer
from apps.legacy.selectors import batches
from tests.apps.legacy.conftest import OldSystem

pytestmark = pytest.mark.django_db(databases=["legacy_db"])


def rows(client: Client, query: str = "") -> list[list[str]]:
    response = client.get(f"/legacy/export.csv{query}")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="customers.csv"'
    return list(csv.reader(StringIO(response.getvalue().decode("utf-8"), newline="")))


def test_export_has_a_header_and_a_row_for_each_customer(client: Client, old: OldSystem) -> None:
    old.customer(1, 'Žofie "Zo", Ltd\nBrno', customer_email="zo@example.com", created_date="2010-02-03", cust_stat="A")
    old.customer(2, None, city="Turku   ", ctry_cd="FI")
    old.order(1, 1, (3, "0.10"), (1, "2.00"))
    assert rows(client) == [
        HEADER,
        ["1", 'Žofie "Zo", Ltd\nBrno', "zo@example.com", "2010-02-03", "A", "", "", "1", "2.30"],
        ["2", "", "", "", "", "Turku", "FI", "0", ""],
    ]


def test_export_of_nobody_is_a_header(client: Client, old: OldSystem) -> None:
    assert rows(client) == [HEADER]


def test_export_holds_what_the_filter_finds(client: Client, old: OldSystem) -> None:
    old.customer(1, "Ann", cust_stat="A")
    old.customer(2, "Anna", cust_stat="X")
    old.customer(3, "Ben", cust_stat="A")
    assert [row[0] for row in rows(client, "?q=ann&status=A&page=7&sort=-name")[1:]] == ["1"]


def test_bad_filter_sends_the_reader_to_the_list_that_says_why(client: Client) -> None:
    response = client.get("/legacy/export.csv?q=%00")
    assert response.status_code == 302
    assert response["Location"] == "/legacy/?q=%00"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =HYPERLINK(1)", "=cmd|' /C calc'!A0"]
)
def test_text_that_a_spreadsheet_would_run_is_defused(client: Client, old: OldSystem, text: str) -> None:
    old.customer(1, text, customer_email=text, city=text)
    _, row = rows(client)
    assert {row[1], row[2], row[5]} == {f"'{text}"}


@pytest.mark.parametrize("text", ["Ann", "a=b", "O'Neill", "1-2", ""])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert defused(text) == text


def test_export_is_streamed_in_batches_that_miss_nobody(client: Client, old: OldSystem) -> None:
    for number in range(1, 1202):
        old.customer(number * 3, f"Customer {number}")
    with CaptureQueriesContext(connections["legacy_db"]) as queries:
        response = client.get("/legacy/export.csv")
        assert response.streaming
        assert len(queries) == 1
        chunks = list(response.streaming_content)  # type: ignore[attr-defined]
    assert [chunk.count(b"\r\n") for chunk in chunks] == [1, 500, 500, 201]
    assert len(queries) == 4
    assert all("LIMIT 500" in query["sql"] for query in queries)
    numbers = [int(line.split(b",")[0]) for line in b"".join(chunks).splitlines()[1:]]
    assert numbers == [number * 3 for number in range(1, 1202)]


def test_batches_ask_once_more_only_after_a_full_one(old: OldSystem) -> None:
    for number in (1, 2, 3, 4):
        old.customer(number)
    found = batches(LegacyCustomer.objects.all(), size=2)
    assert [[customer.pk for customer in batch] for batch in found] == [[1, 2], [3, 4]]
