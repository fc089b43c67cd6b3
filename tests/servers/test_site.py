"""The whole site with the demo's content on PostgreSQL, its standby and MySQL."""

from typing import Any

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import python

PAGES = [
    "/",
    "/blog/",
    "/blog/search/?q=router",
    "/blog/feed/",
    "/blog/sitemap.xml",
    "/analytics/",
    "/legacy/",
    "/legacy/?q=tanabe&sort=-total",
    "/legacy/1001/",
    "/legacy/export.csv",
    "/dashboard/",
    "/databases/",
    "/readyz",
    "/admin/",
    "/admin/blog/post/",
    "/admin/users/user/",
    "/admin/analytics/analyticsevent/",
    "/admin/legacy/legacycustomer/",
]




@pytest.fixture(scope="module")
def pages(filled_site: Site) -> dict[str, Any]:
    """What each page answers to a superuser: [status, text]."""
    code = f"""
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(headers={{"host": "localhost"}})
client.raise_request_exception = False
client.force_login(get_user_model().objects.filter(is_superuser=True).first())
answer = {{}}
for page in {PAGES!r}:
    response = client.get(page)
    answer[page] = [response.status_code, response.getvalue().decode()]
"""
    found: dict[str, Any] = python(filled_site, code)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_page_answers(pages: dict[str, Any], page: str) -> None:
    status, text = pages[page]
    assert status == 200, text[:3000]


def test_search_is_by_full_text_and_finds_posts(pages: dict[str, Any]) -> None:
    text = pages["/blog/search/?q=router"][1]
    assert "PostgreSQL full-text search" in text
    assert "No post matches" not in text


def test_seed_demo_fills_each_server(filled_site: Site) -> None:
    code = """
from django.apps import apps
labels = ("users.User", "blog.Post", "analytics.AnalyticsEvent", "legacy.LegacyCustomer")
answer = [[apps.get_model(label).objects.db, apps.get_model(label).objects.count()] for label in labels]
"""
    found = dict(python(filled_site, code))
    assert (found["users_db"], found["default"], found["legacy_db"]) == (24, 20, 320)
    assert found["analytics_db"] >= 900  # what the tests looked at counts too


def test_seed_demo_again_changes_nothing(filled_site: Site) -> None:
    code = """
from django.core.management import call_command
from apps.blog.models import Comment, Post, Tag
from apps.users.models import User
models = (Post, Tag, Comment, User)
before = [list(model.objects.order_by("pk").values()) for model in models]
call_command("seed_demo", "--events=900", verbosity=0)
answer = before == [list(model.objects.order_by("pk").values()) for model in models]
"""
    assert python(filled_site, code) is True
