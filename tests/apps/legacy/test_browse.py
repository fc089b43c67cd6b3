import re
from itertools import chain

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.legacy.selectors import SORTS
from apps.legacy.views import PAGE_SIZE
from tests.apps.legacy.conftest import OldSystem

pytestmark = pytest.mark.django_db(databases=["legacy_db"])


def shown(client: Client, query: str = "") -> list[int]:
    """The numbers of the customers on a page of the list."""
    response = client.get(f"/legacy/{query}")
    assert response.status_code == 200
    return [int(number) for number in re.findall(r'href="/legacy/(\d+)/"', response.content.decode())]


@pytest.mark.parametrize("customers", [1, 3 * PAGE_SIZE])
def test_list_takes_two_queries_however_many_customers(
    client: Client, old: OldSystem, django_assert_num_queries: DjangoAssertNumQueries, customers: int
) -> None:
    for number in range(1, customers + 1):
        old.customer(number, f"Customer {number}")
        old.order(number, number, (1, "1.00"), (2, "2.00"))
    with django_assert_num_queries(2, using="legacy_db"):
        assert len(shown(client)) == min(customers, PAGE_SIZE)


def test_list_says_whose_data_it_is(client: Client, old: OldSystem) -> None:
    assert b"belongs to another system" in client.get("/legacy/").content


def test_list_counts_orders_and_leaves_cancelled_ones_out_of_the_total(client: Client, old: OldSystem) -> None:
    old.customer(1, "Ann")
    old.order(1, 1, (2, "10.50"), (1, None), (None, "3.00"), ord_stat="IV")
    old.order(2, 1, (1, "100.00"), ord_stat="CN")
    old.order(3, 1, (1, "0.10"))
    old.order(4, None, (1, "7.00"))
    figures = re.findall(r'<td class="num">(.*?)</td>', client.get("/legacy/").content.decode())
    assert figures == ["3", "21.10"]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("?q=ann", [1, 12]),
        ("?q=ANN", [1, 12]),
        ("?q=example.org", [2]),
        ("?q=12", [12]),
        ("?q=%25", [3]),
        ("?q=_", [4]),
        ("?q=%5C", [5]),
        ("?q=nobody", []),
        ("?q=99999999999999999999999999", []),
        ("?q=%20ann%20", [1, 12]),
    ],
)
def test_search_finds_name_address_or_number_and_takes_wildcards_literally(
    client: Client, old: OldSystem, query: str, numbers: list[int]
) -> None:
    old.customer(1, "Ann", customer_email=None)
    old.customer(2, None, customer_email="bob@example.org")
    old.customer(3, "100 % Wool")
    old.customer(4, "snake_case")
    old.customer(5, "back\\slash")
    old.customer(12, "Joanna")
    assert shown(client, query) == numbers


@pytest.mark.parametrize(("status", "numbers"), [("A", [1]), ("X", [2]), ("other", [3, 4]), ("", [1, 2, 3, 4])])
def test_status_filter_has_a_place_for_codes_that_are_missing_or_unknown(
    client: Client, old: OldSystem, status: str, numbers: list[int]
) -> None:
    for number, code in enumerate(["A", "X", None, "Q"], start=1):
        old.customer(number, "Ann", cust_stat=code)
    assert shown(client, f"?status={status}") == numbers


def test_unknown_status_code_is_shown_as_such(client: Client, old: OldSystem) -> None:
    old.customer(1, "Ann", cust_stat="Q")
    old.customer(2, "Ben", cust_stat=None)
    page = client.get("/legacy/").content.decode()
    assert "Unknown code “Q”" in page
    assert "Not recorded" in page


@pytest.mark.parametrize(
    ("sort", "numbers"),
    [
        ("name", [3, 1, 2, 4, 5, 6]),
        ("-name", [2, 1, 3, 4, 5, 6]),
        ("city", [1, 3, 2, 4, 5, 6]),
        ("created", [2, 3, 1, 4, 5, 6]),
        ("-created", [1, 3, 2, 4, 5, 6]),
        ("-orders", [2, 1, 3, 4, 5, 6]),
        ("-total", [1, 2, 3, 4, 5, 6]),
        ("total", [2, 1, 3, 4, 5, 6]),
        ("-number", [6, 5, 4, 3, 2, 1]),
        ("", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_is_missing_comes_last_either_way_and_the_number_decides_between_equals(
    client: Client, old: OldSystem, sort: str, numbers: list[int]
) -> None:
    old.customer(1, "BEN", city="Turku  ", created_date="2010-01-01")
    old.customer(2, " cleo", city="york", created_date="2004-01-01")
    old.customer(3, "ann", city="TURKU", created_date="2005-01-01")
    old.customer(4, None)
    old.customer(5, "")
    old.customer(6, "   ")
    old.order(1, 1, (1, "9.00"))
    old.order(2, 2, (1, "1.00"))
    old.order(3, 2)
    assert shown(client, f"?sort={sort}") == numbers


@pytest.mark.parametrize("name", SORTS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_every_customer_is_on_exactly_one_page_whatever_the_order(
    client: Client, old: OldSystem, name: str, sign: str
) -> None:
    for number in range(1, 2 * PAGE_SIZE + 2):
        old.customer(number, "Same" if number % 3 else None, city="Same" if number % 2 else None)
    pages = [shown(client, f"?sort={sign}{name}&page={page}") for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [PAGE_SIZE, PAGE_SIZE, 1]
    assert sorted(chain.from_iterable(pages)) == list(range(1, 2 * PAGE_SIZE + 2))


def test_heading_in_use_says_its_direction_and_links_to_the_other(client: Client, old: OldSystem) -> None:
    old.customer(1, "Ann", cust_stat="A")
    page = client.get("/legacy/?sort=name&status=A").content.decode()
    assert re.findall(r'aria-sort="(\w+)"><a href="([^"]+)"', page) == [("ascending", "?sort=-name&amp;status=A")]
    assert 'aria-sort="descending"><a href="?sort=name"' in client.get("/legacy/?sort=-name").content.decode()


def test_links_keep_the_filter(client: Client, old: OldSystem) -> None:
    for number in range(1, 2 * PAGE_SIZE + 1):
        old.customer(number, "Ann")
    page = client.get("/legacy/?q=ann&sort=-name&page=1").content.decode()
    assert 'rel="next" href="?q=ann&amp;sort=-name&amp;page=2"' in page
    assert 'href="/legacy/export.csv?q=ann"' in page
    assert '<input type="hidden" name="sort" value="-name">' in page


@pytest.mark.parametrize(
    "query",
    ["?sort=customer_email", "?sort=--name", "?sort=name%00", "?page=0", "?page=2", "?page=x", f"?page={'9' * 5000}"],
)
def test_page_or_order_that_is_not_there_is_404(client: Client, old: OldSystem, query: str) -> None:
    old.customer(1, "Ann")
    assert client.get(f"/legacy/{query}").status_code == 404


@pytest.mark.parametrize("query", ["?q=%00", f"?q={'x' * 101}", "?status=Z", "?status=A%00"])
def test_bad_filter_is_a_message_beside_the_field_and_asks_no_database(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, query: str
) -> None:
    with django_assert_num_queries(0, using="legacy_db"):
        response = client.get(f"/legacy/{query}")
    assert response.status_code == 200
    assert b"field-error" in response.content


def test_markup_in_the_old_data_is_escaped(client: Client, old: OldSystem) -> None:
    old.customer(1, "<script>alert(1)</script>", city="<b>", customer_email='"><img>')
    old.order(1, 1, (1, "1.00"), ord_rem="<i>")
    for path in ("/legacy/", "/legacy/1/"):
        page = client.get(path).content.decode()
        assert not re.search(r"<script|<b>|<img>|<i>", page)
        assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", ["/legacy/", "/legacy/1/", "/legacy/export.csv"])
def test_nothing_can_be_posted(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
