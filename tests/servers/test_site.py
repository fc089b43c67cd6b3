"""The whole site with the demo's content on PostgreSQL, its standby and MySQL."""

from typing import Any

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import EVENTS, database_name, python
from tests.servers.processes import Postgres

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
def pages(servers_site: Site) -> dict[str, Any]:
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
    found: dict[str, Any] = python(servers_site, code)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_page_answers(pages: dict[str, Any], page: str) -> None:
    status, text = pages[page]
    assert status == 200, text[:3000]


def test_search_is_by_full_text_and_finds_posts(pages: dict[str, Any]) -> None:
    text = pages["/blog/search/?q=router"][1]
    assert "PostgreSQL full-text search" in text
    assert "No post matches" not in text


def test_seed_demo_fills_each_server(postgres: Postgres, servers_site: Site) -> None:
    tables = {"users_db": "users_user", "default": "blog_post", "analytics_db": "analytics_analyticsevent"}
    found = {
        alias: postgres.query(database_name(servers_site, alias), f"SELECT count(*) FROM {table}")[0][0]
        for alias, table in tables.items()
    }
    assert (found["users_db"], found["default"]) == (24, 20)
    assert found["analytics_db"] >= EVENTS  # the pages that the tests look at are events, too


def test_seed_demo_again_changes_nothing(servers_site: Site) -> None:
    code = """
from django.core.management import call_command
from apps.blog.models import Comment, Post, Tag
from apps.users.models import User
models = (Post, Tag, Comment, User)
before = [list(model.objects.order_by("pk").values()) for model in models]
call_command("seed_demo", "--events=EVENTS", verbosity=0)
answer = before == [list(model.objects.order_by("pk").values()) for model in models]
"""
    assert python(servers_site, code.replace("EVENTS", str(EVENTS))) is True
