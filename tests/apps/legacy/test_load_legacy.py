"""manage.py load_legacy, in processes of its own on files of its own."""

import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from apps.legacy.services import SQL_FILES, statements
from tests.project.conftest import Site

pytestmark = pytest.mark.sqlite("legacy_db")
LOADED = "legacy_db: loaded (rows: customers 320, ord_hdr 903, ord_line 2326)\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "with space %41 & ü")


def legacy_file(site: Site) -> Path:
    return site.var / "legacy.sqlite3"


def count(site: Site) -> int | None:
    """The customers in the file, None where there is no such table."""
    with closing(sqlite3.connect(legacy_file(site))) as database:
        tables = database.execute("SELECT name FROM sqlite_master").fetchall()
        return database.execute("SELECT count(*) FROM customers").fetchone()[0] if tables else None


def test_empty_file_is_filled_and_stays_private(site: Site) -> None:
    assert site.manage("load_legacy") == LOADED
    assert count(site) == 320
    assert {
        stat.S_IMODE(file.stat().st_mode) for file in site.var.glob("legacy.sqlite3*") if file.suffix != ".lock"
    } == {0o600}
    with closing(sqlite3.connect(legacy_file(site))) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_loaded_file_is_refused_and_with_if_empty_left_alone_in_silence(site: Site) -> None:
    site.manage("load_legacy", "--if-empty")
    before = legacy_file(site).read_bytes()
    refusal = site.manage("load_legacy", status=1)
    assert "legacy_db has tables already (customers, ord_hdr, ord_line), and only an empty file is filled" in refusal
    assert str(legacy_file(site)) in refusal
    assert site.manage("load_legacy", "--if-empty") == ""
    assert legacy_file(site).read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["--if-empty"]])
def test_file_with_other_tables_is_refused_and_not_touched(site: Site, arguments: list[str]) -> None:
    site.var.mkdir()
    with closing(sqlite3.connect(legacy_file(site))) as database:
        database.execute("CREATE TABLE somebody_elses (id)")
    before = legacy_file(site).read_bytes()
    assert "legacy_db has tables already (somebody_elses)" in site.manage("load_legacy", *arguments, status=1)
    assert legacy_file(site).read_bytes() == before


def test_file_that_is_no_database_is_named(site: Site) -> None:
    site.var.mkdir()
    legacy_file(site).write_text("not a database, but long enough to be taken for the header of one" * 20)
    refusal = site.manage("load_legacy", status=1)
    assert "CommandError: legacy_db cannot be read: file is not a database" in refusal


def test_load_that_is_killed_half_way_leaves_an_empty_file_that_can_be_filled(site: Site) -> None:
    die_half_way = (
        "import os, signal\n"
        "from itertools import islice\n"
        "from apps.legacy import services\n"
        "real = services.statements\n"
        "def dying(sql):\n"
        "    yield from islice(real(sql), 7)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "services.statements = dying\n"
        "from django.core.management import call_command\n"
        "call_command('load_legacy')\n"
    )
    site.manage("shell", "-c", die_half_way, status=-9)
    assert count(site) is None
    assert site.manage("load_legacy", "--if-empty") == LOADED
    assert count(site) == 320


def test_several_loads_at_once_fill_the_file_once(site: Site) -> None:
    site.manage("check")  # makes the files
    processes = [site.start("load_legacy", "--if-empty") for _ in range(4)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results
    assert sorted(out for out, _ in results) == ["", "", "", LOADED]
    assert count(site) == 320


def test_load_waits_for_the_one_that_came_first_and_then_refuses(site: Site) -> None:
    site.manage("check")
    with closing(sqlite3.connect(legacy_file(site), isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE customers (customer_id)")
        process = site.start("load_legacy")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        other.execute("COMMIT")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "legacy_db has tables already (customers)" in err


@pytest.mark.parametrize(
    ("url", "client"),
    [
        (
            "mysql://legacy:sesame@127.0.0.1:3999/old",
            "mysql --default-character-set=utf8mb4 --host=127.0.0.1 --port=3999",
        ),
        ("postgres://legacy:sesame@127.0.0.1/old", "psql --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port=5432"),
    ],
    ids=["mysql", "postgresql"],
)
def test_another_engine_is_refused_with_its_own_client_named_and_no_password(site: Site, url: str, client: str) -> None:
    if url.startswith("mysql"):
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed: pip install mysqlclient")
    site.env["LEGACY_DATABASE_URL"] = url
    refusal = site.manage("load_legacy", status=1)
    assert client in refusal
    assert refusal.index("01_schema.sql") < refusal.index("02_data.sql")
    assert "sesame" not in refusal


def test_server_that_does_not_answer_is_named(site: Site) -> None:
    site.env["LEGACY_DATABASE_URL"] = "postgres://legacy:sesame@127.0.0.1:1/old"
    refusal = site.manage("load_legacy", "--if-empty", status=1)
    assert "CommandError: legacy_db cannot be read:" in refusal
    assert "sesame" not in refusal


def test_file_that_cannot_be_written_is_a_sentence(site: Site) -> None:
    site.manage("check")
    script = (
        "import sqlite3\n"
        "from apps.legacy.management.commands import load_legacy\n"
        "def refuse(*, path):\n"
        "    raise sqlite3.OperationalError('attempt to write a readonly database')\n"
        "load_legacy.fill_sqlite_file = refuse\n"
        "from django.core.management import call_command\n"
        "call_command('load_legacy')\n"
    )
    assert "legacy_db was left as it was, because" in site.manage("shell", "-c", script, status=1)


def test_statements_are_split_at_their_ends_and_not_inside_text() -> None:
    script = "-- a; comment\nCREATE TABLE t (a);\nINSERT INTO t VALUES ('x;\ny');\n-- the end"
    found = list(statements(script))
    assert [statement.strip() for statement in found] == [
        "-- a; comment\nCREATE TABLE t (a);",
        "INSERT INTO t VALUES ('x;\ny');",
        "-- the end",
    ]


def test_schema_comes_before_the_rows() -> None:
    assert [file.name for file in SQL_FILES] == ["01_schema.sql", "02_data.sql"]
