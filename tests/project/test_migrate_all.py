"""manage.py migrate_all, in processes of its own on files of its own."""

import fcntl
import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from pytest_django import Settings

from routers.locks import LockTimeout, migration_lock
from routers.topology import topology
from tests.project.conftest import Site

MANAGED = ["default", "users_db", "analytics_db", "cache_db"]


def applied(alias: str, *labels: str) -> str:
    """What a first run says of an alias, with all its apps or with these."""
    here = labels or topology().labels_on(alias)
    return f"{alias}: {sum(label in here for label, _ in MigrationLoader(None).disk_migrations)} applied"


def test_first_run_migrates_every_managed_database_and_a_second_finds_nothing(site: Site) -> None:
    first = site.manage("migrate_all")
    assert [line.split(":")[0] for line in first.splitlines()] == MANAGED
    assert "blog" not in site.manage("migrate", "--plan", "--database=users_db")
    assert site.manage("migrate_all").splitlines() == [f"{alias}: nothing to do" for alias in MANAGED]


def test_plan_shows_what_each_database_needs_and_changes_nothing(site: Site) -> None:
    plan = site.manage("migrate_all", "--plan")
    assert "default: blog.0001_initial\n" in plan
    assert "users_db: blog.0001_initial  (recorded only: its tables are elsewhere)" in plan
    assert "legacy_db" not in plan
    assert "read_replica_1" not in plan
    assert site.manage("migrate_all", "--plan") == plan


def test_check_fails_while_anything_is_pending(site: Site) -> None:
    assert "to do. Run: manage.py migrate_all" in site.manage("migrate_all", "--check", status=1)
    site.manage("migrate_all")
    site.manage("migrate_all", "--check")


def test_one_database_alone(site: Site) -> None:
    assert site.manage("migrate_all", "--database=cache_db", "--database=analytics_db").splitlines() == [
        applied("cache_db"),
        applied("analytics_db"),
    ]
    assert site.tables("blog") == set()


def test_app_that_shares_its_database_with_others_is_migrated_alone(site: Site) -> None:
    assert "users_db: " in site.manage("migrate_all", "--app=users")
    tables = site.tables("users")
    assert "users_user" in tables
    assert "django_admin_log" not in tables


def test_one_app_alone_touches_only_the_database_that_holds_it(site: Site) -> None:
    assert site.manage("migrate_all", "--app=analytics") == applied("analytics_db", "analytics") + "\n"
    assert "analytics_db: nothing to do" in site.manage("migrate_all", "--app=analytics", "--app=cache")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--database=legacy_db", "'legacy_db' is not a database that is migrated. There are: default, users_db"),
        ("--database=read_replica_1", "Replicas receive their schema from their primary"),
        ("--database=nowhere", "CLUSTERS (config/settings/databases.py)"),
        ("--app=nothing", "No installed app 'nothing' has a database. There are: admin, analytics"),
        ("--app=legacy", "None of legacy lives on default, users_db, analytics_db, cache_db."),
    ],
)
def test_bad_argument_is_named_with_what_there_is(site: Site, argument: str, says: str) -> None:
    assert says in site.manage("migrate_all", argument, status=1)


def test_database_that_is_down_is_named_and_the_others_are_migrated(site: Site) -> None:
    site.env["ANALYTICS_DATABASE_URL"] = "postgres://app:s3cr3t@127.0.0.1:1/analytics"
    said = site.manage("migrate_all", status=1)
    assert "analytics_db: " in said
    assert "Not done: analytics_db" in said
    assert applied("cache_db") in said
    assert "s3cr3t" not in said


def test_two_runs_at_once_do_not_collide(site: Site) -> None:
    runs = [site.start("migrate_all") for _ in range(3)]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    assert sum("users_db: nothing to do" in out for out, _ in outputs) == 2


def test_run_that_waits_too_long_says_for_whom(site: Site) -> None:
    site.var.mkdir()
    with (site.var / "blog.sqlite3.migrate_all.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = site.manage("migrate_all", "--lock-timeout=0.2", status=1)
    assert "default: Another migration run has held the lock on default" in said
    assert applied("users_db") in said


def test_app_that_moved_to_a_database_that_had_recorded_it_is_noticed(site: Site) -> None:
    site.manage("migrate_all")
    with closing(sqlite3.connect(site.var / "cache.sqlite3")) as database:
        database.execute("DROP TABLE cache_cacheentry")
    said = site.manage("migrate_all", "--check", status=1)
    assert "cache.CacheEntry is recorded as migrated, but its table cache_cacheentry is not there." in said
    said = site.manage("migrate_all", status=1)
    assert "cache_db: cache.CacheEntry is recorded as migrated, but its table cache_cacheentry is not there." in said
    assert "Not done: cache_db" in said
    site.manage("migrate", "cache", "zero", "--fake", "--database=cache_db")
    assert "cache_db: 1 applied" in site.manage("migrate_all")


def test_django_migrate_agrees_on_what_is_pending(site: Site) -> None:
    site.manage("migrate_all")
    for alias in MANAGED:
        site.manage("migrate", "--check", f"--database={alias}")


def test_django_migrate_on_one_database_makes_the_tables_that_belong_there(site: Site) -> None:
    site.manage("migrate", "--database=users_db")
    assert "users_db: nothing to do" in site.manage("migrate_all")


def test_migrations_go_back_and_forth(site: Site) -> None:
    site.manage("migrate_all")
    # Not users: the tables of the admin and of the sessions hold keys to it.
    for app, alias in [("blog", "default"), ("analytics", "analytics_db"), ("cache", "cache_db")]:
        site.manage("migrate", app, "zero", f"--database={alias}")
    again = site.manage("migrate_all")
    assert [line for line in again.splitlines() if "nothing" not in line] == [
        applied("default", "blog"),
        applied("analytics_db", "analytics"),
        applied("cache_db", "cache"),
    ]


@pytest.mark.django_db(databases=["default"])
def test_app_with_models_and_no_migrations_is_named_with_the_remedy(settings: Settings) -> None:
    settings.MIGRATION_MODULES = {"cache": None}
    with pytest.raises(
        CommandError, match=r"'cache' has models but no migrations. Run: manage.py makemigrations cache"
    ):
        call_command("migrate_all", "--plan", "--database=default")


@pytest.mark.django_db(databases=["default"])
def test_app_whose_tables_are_somebody_elses_needs_no_migrations(settings: Settings) -> None:
    settings.MIGRATION_MODULES = {"legacy": None}
    call_command("migrate_all", "--check", "--database=default", stdout=StringIO())


@pytest.mark.django_db(databases=["default"])
def test_memory_needs_no_lock() -> None:
    with migration_lock(connections["default"], timeout=0), migration_lock(connections["default"], timeout=0):
        pass


def test_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    connection = connections["default"].copy()
    connection.settings_dict = {**connection.settings_dict, "NAME": str(tmp_path / "x.sqlite3")}
    with pytest.raises(RuntimeError), migration_lock(connection, timeout=0):
        raise RuntimeError
    with (
        migration_lock(connection, timeout=0),
        pytest.raises(LockTimeout, match="Another migration run has held the lock on default for 0 s"),
        migration_lock(connection, timeout=0, poll=0.01),
    ):
        pass


def test_replica_aliases_exist() -> None:
    assert {"read_replica_1", "users_replica_1"} <= set(settings.DATABASES)
