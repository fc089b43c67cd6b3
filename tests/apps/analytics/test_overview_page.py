import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.factories.analytics import EventFactory, noon

pytestmark = pytest.mark.django_db(databases=["analytics_db"])


def test_page_lives_at_analytics() -> None:
    assert reverse("analytics:overview") == "/analytics/"


def test_empty_site_has_a_page(client: Client) -> None:
    content = client.get("/analytics/").content.decode()
    assert "No events in these 30 days." in content
    assert "No page views in these 30 days." in content


@pytest.mark.parametrize("events", [1, 60])
def test_page_takes_four_queries_on_analytics_db_and_none_elsewhere(events: int, client: Client) -> None:
    """The test may use no other database: pytest-django would fail it."""
    for number in range(events):
        EventFactory.create(timestamp=noon(number % 20), event_type=f"type {number % 7}")
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        client.get("/analytics/")
    assert len(queries) == 4


def test_page_shows_figures_types_and_pages(client: Client) -> None:
    EventFactory.create_batch(1234, data={"path": "/blog/"}, session_id="one", timestamp=noon(1))
    EventFactory.create(event_type="sign_up", timestamp=noon(1))
    content = client.get("/analytics/").content.decode()
    for text in ("1,235", "1,234", "sign_up", "/blog/", "analytics_db"):
        assert text in content


@pytest.mark.parametrize(("query", "days"), [("", 30), ("?days=7", 7), ("?days=30", 30), ("?days=90", 90)])
def test_period_may_be_chosen(query: str, days: int, client: Client) -> None:
    content = client.get(f"/analytics/{query}").content.decode()
    assert content.count('<th scope="row"><time datetime=') == days
    assert f'<a class="tag" href="?days={days}" aria-current="page">' in content


@pytest.mark.parametrize(
    "days", ["", "0", "-7", "31", "week", "7\x00", "\N{ARABIC-INDIC DIGIT SEVEN}", "9" * 5000, " 7"]
)
def test_period_that_is_not_offered_is_not_found(days: str, client: Client) -> None:
    assert client.get("/analytics/", {"days": days}).status_code == 404


def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/analytics/").status_code == 405


def test_path_of_a_page_is_escaped(client: Client) -> None:
    EventFactory.create(data={"path": "/<script>/"})
    content = client.get("/analytics/").content.decode()
    assert "/&lt;script&gt;/" in content
    assert "<script" not in content
