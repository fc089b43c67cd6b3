import re

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.legacy import selectors
from tests.apps.legacy.conftest import OldSystem

pytestmark = pytest.mark.django_db(databases=["legacy_db"])


@pytest.mark.parametrize("orders", [1, 40])
def test_customer_takes_three_queries_however_many_orders(
    client: Client, old: OldSystem, django_assert_num_queries: DjangoAssertNumQueries, orders: int
) -> None:
    old.customer(1, "Ann")
    for number in range(1, orders + 1):
        old.order(number, 1, *[(1, "1.00")] * 5)
    with django_assert_num_queries(3, using="legacy_db"):
        page = client.get("/legacy/1/").content.decode()
    assert page.count("<tfoot>") == orders


def test_orders_come_newest_first_with_their_lines_and_sums(client: Client, old: OldSystem) -> None:
    old.customer(1, "Ann")
    old.order(1, 1, (3, "0.10"), (2, "4.95"), ord_dt="2010-05-01", ord_stat="IV")
    old.order(2, 1, (1, "50.00"), ord_dt="2012-05-01", ord_stat="CN")
    old.order(3, 1, (1, "7.00"), ord_dt=None)
    old.order(4, 2, (1, "99.00"), ord_dt="2013-01-01")
    page = client.get("/legacy/1/").content.decode()
    assert re.findall(r">Order (\d)<", page) == ["2", "1", "3"]
    assert re.findall(r'<tfoot>.*?<td class="num">(.*?)</td>', page) == ["50.00", "10.20", "7.00"]
    assert "17.20 <span" in page
    assert "99.00" not in page


def test_customer_of_whom_nothing_is_known_has_a_page(client: Client, old: OldSystem) -> None:
    old.customer(7, None)
    old.order(1, 7, ord_stat="??")
    old.order(2, 7, (None, None), (1, None))
    page = client.get("/legacy/7/").content.decode()
    assert "<h1>Customer 7</h1>" in page
    assert "Unknown code “??”" in page
    assert "no date" in page
    assert "no lines for this order" in page


def test_padding_is_not_shown(client: Client, old: OldSystem) -> None:
    old.customer(1, "Ann   ", cust_stat="A ")
    page = client.get("/legacy/1/").content.decode()
    assert "<h1>Ann</h1>" in page
    assert "Active" in page


def test_orders_beyond_the_limit_are_left_out_and_the_page_says_so(
    client: Client, old: OldSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "ORDERS_SHOWN", 2)
    old.customer(1, "Ann")
    for number in (1, 2, 3):
        old.order(number, 1, (1, "1.00"))
    page = client.get("/legacy/1/").content.decode()
    assert re.findall(r">Order (\d)<", page) == ["3", "2"]
    assert "The latest 2 of 3." in page
    assert "3.00 <span" in page


@pytest.mark.parametrize("number", ["2", "0", str(2**31), str(2**63), "9" * 60, "9" * 5000, "-1", "1.0", "%00"])
def test_customer_who_is_not_there_is_404(client: Client, old: OldSystem, number: str) -> None:
    old.customer(1, "Ann")
    old.order(1, 2, (1, "1.00"))
    assert client.get(f"/legacy/{number}/").status_code == 404


def test_purchases_are_found_by_address_in_one_query(
    old: OldSystem, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    old.customer(1, "Ann", customer_email="Ann@Example.com  ")
    old.customer(2, "Ann again", customer_email="ann@example.com")
    old.customer(3, "Annabel", customer_email="joann@example.com")
    old.customer(4, "Nobody", customer_email=None)
    old.order(1, 1, (2, "1.50"), (1, "4.00"), ord_dt="2010-01-01")
    old.order(2, 2, ord_dt="2011-01-01")
    old.order(3, 3, (1, "9.00"))
    old.order(4, 4)
    old.order(5, None)
    old.order(6, 999)
    with django_assert_num_queries(1, using="legacy_db"):
        found = selectors.purchases_of(" ANN@example.com")
        figures = [(o.order_no, str(o.customer), o.line_count, o.total) for o in found]  # type: ignore[attr-defined]
    assert figures == [(2, "Ann again", 0, None), (1, "Ann", 2, 7)]


@pytest.mark.parametrize("address", ["", "  ", "\x00", "ann@example.com\x00"])
def test_what_is_no_address_has_no_purchases_and_asks_no_database(
    old: OldSystem, django_assert_num_queries: DjangoAssertNumQueries, address: str
) -> None:
    old.customer(1, "Ann", customer_email="")
    old.order(1, 1)
    with django_assert_num_queries(0, using="legacy_db"):
        assert selectors.purchases_of(address) == []


@pytest.mark.parametrize("address", ["a%@example.com", "a_n@example.com", "%"])
def test_wildcards_in_an_address_find_nobody(old: OldSystem, address: str) -> None:
    old.customer(1, "Ann", customer_email="ann@example.com")
    old.order(1, 1)
    assert selectors.purchases_of(address) == []
