"""A visitor walks through the whole site, in a wide light window and in a narrow dark one."""

import json
import re
from pathlib import Path

import pytest

from tests.browser.conftest import Demo, Visitor

PASSWORD = "correct horse battery"
PUBLIC = ["/", "/blog/", "/blog/search/?q=replica", "/analytics/", "/legacy/", "/databases/", "/users/login/",
          "/users/signup/", "/users/maya/", "/users/password/reset/", "/blog/no-such-post/"]  # fmt: skip
ADMIN_BASELINE = Path(__file__).parent / "admin_axe_baseline.json"


@pytest.mark.parametrize("path", PUBLIC)
def test_public_page_is_at_ease(visitor: Visitor, path: str) -> None:
    visitor.problems.clear()
    visitor.goes_to(path)
    if path == "/blog/no-such-post/":  # the console says that it is a 404, and it is
        visitor.problems.clear()
    visitor.is_at_ease()


def test_new_visitor_signs_up_confirms_writes_comments_and_sees_the_dashboard(visitor: Visitor, demo: Demo) -> None:
    name = f"walker{visitor.page.viewport_size['width']}"  # type: ignore[index]
    visitor.problems.clear()
    visitor.goes_to("/users/signup/")
    visitor.fills(username=name, email=f"{name}@example.com", password1=PASSWORD, password2=PASSWORD)
    visitor.presses("Sign up")
    assert visitor.page.get_by_role("link", name=name).count() == 1
    visitor.is_at_ease()

    visitor.page.goto(demo.last_link())
    visitor.is_at_ease()
    visitor.presses("Confirm my address")
    visitor.is_at_ease()

    visitor.presses("Log out")
    visitor.goes_to("/users/login/")
    visitor.fills(username=name, password=PASSWORD)
    visitor.presses("Log in")
    assert visitor.page.get_by_role("link", name=name).count() == 1

    visitor.goes_to("/blog/write/")
    visitor.is_at_ease()
    visitor.fills(title=f"Notes of {name}", content="## First\n\nSome *text* with `code`.")
    visitor.page.get_by_label("Published").check()
    visitor.presses("Preview")
    assert visitor.page.locator("em", has_text="text").count() == 1
    visitor.is_at_ease()
    visitor.presses("Save")
    visitor.is_at_ease()

    visitor.page.locator("[name=content]").fill("A remark of my own.")
    visitor.presses("Comment")
    assert visitor.page.get_by_text("A remark of my own.").count() == 1
    visitor.is_at_ease()

    visitor.goes_to("/dashboard/")
    assert visitor.page.get_by_text(f"Notes of {name}").count() == 1
    visitor.is_at_ease()

    for path in ("/users/account/", "/users/edit/", "/users/delete/", "/blog/mine/"):
        visitor.goes_to(path)
        visitor.is_at_ease()
    visitor.goes_to("/")
    visitor.presses("Log out")


def test_staff_walk_through_the_cache_and_the_admin(visitor: Visitor) -> None:
    visitor.problems.clear()
    visitor.goes_to("/users/login/")
    visitor.fills(username="admin", password="demo")
    visitor.presses("Log in")
    visitor.goes_to("/cache/")
    visitor.is_at_ease()

    # What Django's own pages do wrong; ours may add nothing to it.
    known = json.loads(ADMIN_BASELINE.read_text())
    found = {path: sorted(visitor_finds(visitor, path)) for path in known}
    assert {path: rules for path, rules in found.items() if not set(rules) <= set(known[path])} == {}
    visitor.goes_to("/")
    visitor.presses("Log out")


def visitor_finds(visitor: Visitor, path: str) -> dict[str, list[str]]:
    visitor.goes_to(path)
    assert visitor.page.locator(".ledger").count() == 1, path
    assert visitor.problems == []
    return visitor.violations()


def test_ledger_unfolds_the_sql_of_a_database(visitor: Visitor) -> None:
    visitor.goes_to("/blog/")
    # From the primary, where this visitor has written in a test before.
    item = visitor.page.locator(".ledger-item", has_text=re.compile("default|read_replica_1")).first
    item.locator("summary").click()
    assert "SELECT" in item.locator(".ledger-sql").inner_text()


def test_keyboard_reaches_the_content_first(visitor: Visitor) -> None:
    visitor.goes_to("/")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.textContent") == "Skip to content"
