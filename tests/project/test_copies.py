"""What the README promises to whoever starts a product: done on a copy, to the letter."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.project.conftest import Site
from tests.project.readme import copy_of_the_project, follow


@pytest.fixture
def copy(tmp_path: Path) -> Site:
    return copy_of_the_project(tmp_path)


def tables(site: Site, cluster: str) -> set[str]:
    with closing(sqlite3.connect(site.var / f"{cluster}.sqlite3")) as database:
        return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_sixth_database_in_three_steps(copy: Site) -> None:
    follow(copy, "Add an app with its database")
    assert "shop_product" in tables(copy, "shop")
    for other in ("blog", "users", "analytics", "cache"):
        assert "shop_product" not in tables(copy, other)
    assert "blog_post" not in tables(copy, "shop")
    assert "no issues" in copy.manage("check")
    copy.manage("migrate_all", "--check")
    placed = "from apps.shop.models import Product; print(Product.objects.create(name='x')._state.db)"
    assert copy.manage("shell", "--verbosity=0", "--command", placed).strip() == "shop_db"
    assert "shop_db" in copy.manage("dbstatus")


def test_new_app_without_a_cluster_is_refused_with_the_file_to_edit(copy: Site) -> None:
    follow(copy, "Add an app with its database")
    settings = copy.root / "config/settings/databases.py"
    settings.write_text("".join(line for line in settings.read_text().splitlines(keepends=True) if "shop" not in line))
    said = copy.manage("check", status=1)
    assert "The app 'shop' has models but no database." in said
    assert "CLUSTERS (config/settings/databases.py)" in said


def test_demo_can_be_deleted_and_the_rest_boots(copy: Site) -> None:
    follow(copy, "Start a product from it")
    assert "no issues" in copy.manage("check")
    assert "users_db" in copy.manage("migrate_all")
    copy.manage("makemigrations", "--check")
    served = (
        "from django.test import Client; c = Client(headers={'host': 'localhost'});"
        "print([c.get(p).status_code for p in ('/users/login/', '/admin/login/', '/healthz', '/databases/', '/')])"
    )
    assert "[200, 200, 200, 200, 404]" in copy.manage("shell", "--verbosity=0", "--command", served)
    assert not (copy.var / "legacy.sqlite3").exists()


def test_tests_and_checks_of_what_is_left_pass(copy: Site) -> None:
    follow(copy, "Start a product from it")
    tools = Path(sys.executable).parent
    for tool in (["pytest", "-p", "no:cacheprovider"], ["lint-imports"], ["ruff", "check", "."]):
        done = subprocess.run([tools / tool[0], *tool[1:]], cwd=copy.root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
