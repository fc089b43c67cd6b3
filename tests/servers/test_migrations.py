"""Migrations on real PostgreSQL: where tables and indexes come to stand, and runs that meet."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.apps import apps
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.locks import LockTimeout, migration_lock
from routers.topology import topology
from tests.project.conftest import Site
from tests.servers.conftest import VARIABLES, Connect, database_name, python, site_on, tables, tables_of_apps_on
from tests.servers.processes import PASSWORD, MySQL, Postgres

EMAIL_INDEX, SEARCH_INDEX = "users_user_email_upper", "blog_post_search"


def homes_of_index(postgres: Postgres, site: Site, index: str) -> list[str]:
    """The aliases on whose database the index stands and is valid."""
    sql = f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{index}') AND indisvalid"
    return [alias for alias in VARIABLES if postgres.query(database_name(site, alias), sql)]


@pytest.mark.parametrize("alias", VARIABLES)
def test_database_holds_the_tables_of_its_apps_and_no_others(
    postgres: Postgres, migrated_site: Site, alias: str
) -> None:
    assert tables(postgres, database_name(migrated_site, alias)) == tables_of_apps_on(alias)


def test_no_table_stands_in_a_database_that_is_not_in_the_topology(postgres: Postgres, migrated_site: Site) -> None:
    assert tables(postgres, "postgres") == set()
    assert tables(postgres, "template1") == set()


def test_index_that_one_database_has_stands_there_alone_and_is_valid(postgres: Postgres, migrated_site: Site) -> None:
    assert homes_of_index(postgres, migrated_site, EMAIL_INDEX) == ["users_db"]
    assert homes_of_index(postgres, migrated_site, SEARCH_INDEX) == ["default"]


def test_email_is_looked_up_by_its_index(migrated_site: Site) -> None:
    code = """
from django.db import connections
from apps.users.models import User
users = User.objects.filter(email__iexact="Ada@Example.com")
with connections[users.db].cursor() as cursor:
    cursor.execute("SET enable_seqscan = off")
answer = users.explain()
"""
    plan = python(migrated_site, code)
    assert EMAIL_INDEX in plan
    assert "Seq Scan" not in plan


def test_full_text_search_uses_its_index(migrated_site: Site) -> None:
    code = """
from django.db import connections
from apps.blog.models import Post
from apps.blog.selectors import full_text
with connections[Post.objects.db].cursor() as cursor:
    cursor.execute("SET enable_seqscan = off")
answer = full_text(Post.objects.all(), 'router -replica "two phase"').explain()
"""
    plan = python(migrated_site, code)
    assert f"Bitmap Index Scan on {SEARCH_INDEX}" in plan
    assert "Seq Scan" not in plan


def test_second_run_finds_nothing_to_do_and_leaves_the_old_system_alone(servers_site: Site, mysql: MySQL) -> None:
    managed = ["default", "users_db", "analytics_db", "cache_db"]
    assert servers_site.manage("migrate_all").splitlines() == [f"{alias}: nothing to do" for alias in managed]
    with closing(mysql.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SHOW TABLES")
        assert {row[0] for row in cursor.fetchall()} == {"customers", "ord_hdr", "ord_line"}


def test_three_runs_at_once_apply_everything_once(postgres: Postgres, postgres_site: Site) -> None:
    runs = [postgres_site.start("migrate_all") for _ in range(3)]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    for alias in VARIABLES:
        assert sum(f"{alias}: nothing to do" in out for out, _ in outputs) == 2
        recorded = postgres.query(database_name(postgres_site, alias), "SELECT app, name FROM django_migrations")
        assert len(recorded) == len(set(recorded))
    assert homes_of_index(postgres, postgres_site, EMAIL_INDEX) == ["users_db"]


def test_run_that_waits_does_not_block_an_index_that_is_built_concurrently(
    postgres: Postgres, connect: Connect
) -> None:
    url = postgres.url(postgres.create_database("concurrently"))
    holds, waits = connect(url), connect(url)
    waits.inc_thread_sharing()
    tries = threading.Event()

    def wait() -> None:
        tries.set()
        with migration_lock(waits, timeout=20, poll=0.001):
            pass

    with holds.cursor() as cursor, migration_lock(holds, timeout=0):
        waiting = threading.Thread(target=wait)
        waiting.start()
        tries.wait()
        cursor.execute("SET statement_timeout = '10s'")
        cursor.execute("CREATE TABLE t (id int)")
        cursor.execute("CREATE INDEX CONCURRENTLY ON t (id)")
        assert waiting.is_alive()
    waiting.join(timeout=20)
    assert not waiting.is_alive()


def test_lock_is_held_against_others_until_released_even_by_a_failure(postgres: Postgres, connect: Connect) -> None:
    url = postgres.url("postgres")
    first, second = connect(url), connect(url)
    with (
        migration_lock(first, timeout=0),
        pytest.raises(LockTimeout, match="Another migration run has held the lock on default for 0 s"),
        migration_lock(second, timeout=0.1, poll=0.01),
    ):
        pass
    with pytest.raises(ZeroDivisionError), migration_lock(first, timeout=0):
        raise ZeroDivisionError
    with migration_lock(second, timeout=0):
        pass


def test_lock_of_one_database_leaves_the_others_free(migrated_site: Site, connect: Connect) -> None:
    with migration_lock(connect(migrated_site.env["DATABASE_URL"]), timeout=0):
        said = migrated_site.manage("migrate_all", "--lock-timeout=0.2", status=1)
    assert "default: Another migration run has held the lock on default for 0 s. Wait for it to end, or raise " in said
    assert "users_db: nothing to do" in said
    assert "Not done: default" in said


def test_session_that_the_server_ends_says_so_and_takes_its_lock_with_it(postgres: Postgres, connect: Connect) -> None:
    url = postgres.url("postgres")
    with pytest.raises(DatabaseError, match="terminating connection due to administrator command"):
        lose_session_under_lock(postgres, connect(url))
    with migration_lock(connect(url), timeout=5):
        pass


def lose_session_under_lock(postgres: Postgres, connection: BaseDatabaseWrapper) -> None:
    with migration_lock(connection, timeout=0), connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        postgres.query("postgres", f"SELECT pg_terminate_backend({pid})", admin=True)
        cursor.execute("SELECT 1")


def test_index_goes_back_and_forth(postgres: Postgres, migrated_copy: Site) -> None:
    migrated_copy.manage("migrate", "users", "0001", "--database=users_db")
    assert homes_of_index(postgres, migrated_copy, EMAIL_INDEX) == []
    assert "users_db: " in migrated_copy.manage("migrate_all", "--database=users_db")
    assert homes_of_index(postgres, migrated_copy, EMAIL_INDEX) == ["users_db"]


@pytest.mark.parametrize("alias", VARIABLES)
def test_every_app_goes_back_to_zero_and_forth(postgres: Postgres, migrated_copy: Site, alias: str) -> None:
    name = database_name(migrated_copy, alias)
    for label in sorted(topology().labels_on(alias)):
        migrated_copy.manage("migrate", label, "zero", f"--database={alias}")
        models = apps.get_app_config(label).get_models(include_auto_created=True)
        assert not tables(postgres, name) & {model._meta.db_table for model in models}, label
    assert tables(postgres, name) == {"django_migrations"}
    assert f"{alias}: " in migrated_copy.manage("migrate_all", f"--database={alias}")
    assert tables(postgres, name) == tables_of_apps_on(alias)
    assert homes_of_index(postgres, migrated_copy, EMAIL_INDEX) == ["users_db"]
    assert homes_of_index(postgres, migrated_copy, SEARCH_INDEX) == ["default"]


@pytest.fixture
def lone_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """A primary without standbys that a test may kill."""
    lone = Postgres(standbys=0)
    yield lone
    lone.end()


def test_primary_that_is_gone_is_named_without_its_password_and_the_rest_is_migrated(
    lone_postgres: Postgres, tmp_path: Path
) -> None:
    site = site_on(lone_postgres, tmp_path)
    lone_postgres.primary.kill()
    said = site.manage("migrate_all", status=1)
    assert all(f"{alias}: connection" in said for alias in VARIABLES)
    assert "Not done: default, users_db, analytics_db" in said
    assert re.search(r"cache_db: \d+ applied", said)
    assert PASSWORD not in said
