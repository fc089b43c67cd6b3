"""How a database is found to be, with real files and real sockets."""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections

from apps.monitoring import probes
from apps.monitoring.engines import Table
from apps.monitoring.ledger import open_ledger
from apps.monitoring.probes import Status, probe_all
from tests.apps.monitoring.conftest import Lab

POSTGRESQL = "django.db.backends.postgresql"
SQLITE = "django.db.backends.sqlite3"


def only(statuses: list[Status]) -> Status:
    (status,) = statuses
    return status


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says a word, as one that was stopped does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def postgresql(lab: Lab, name: str, port: int, *apps: str) -> None:
    lab.cluster(
        name, "nobody", *apps, ENGINE=POSTGRESQL, HOST="127.0.0.1", PORT=port, USER="ann", PASSWORD="hunter2",
        OPTIONS={"connect_timeout": 30},
    )  # fmt: skip


def test_file_is_up_with_engine_size_and_exact_rows(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop", item=3, customer=0), "blog")
    status = only(probe_all())
    assert (status.alias, status.cluster, status.role, status.state) == ("shop", "shop", "primary", "up")
    assert (status.engine, status.version, status.apps) == ("SQLite", sqlite3.sqlite_version, ("blog",))
    assert status.tables == (Table("customer", 0, exact=True), Table("item", 3, exact=True))
    assert status.size_bytes == (lab.folder / "shop.sqlite3").stat().st_size
    assert status.latency_ms is not None
    assert status.is_usable


def test_removed_file_is_down_and_is_not_made_again(lab: Lab) -> None:
    path = lab.file("shop", item=3)
    lab.cluster("shop", path)
    assert only(probe_all()).is_up
    path.unlink()
    status = only(probe_all())
    assert (status.state, status.error) == ("down", "no such file")
    assert not path.exists()


def test_removed_file_of_a_read_only_url_is_found_missing_too(lab: Lab) -> None:
    lab.cluster("shop", f"file:{lab.folder}/not%20here.sqlite3?mode=ro", OPTIONS={"uri": True})
    assert only(probe_all()).error == "no such file"


def test_empty_file_is_up_and_says_what_to_run(lab: Lab) -> None:
    path = lab.folder / "empty.sqlite3"
    path.touch()
    lab.cluster("shop", path)
    status = only(probe_all())
    assert (status.state, status.error, status.is_usable) == ("up", "empty: run migrate_all", False)


def test_empty_file_of_a_schema_that_is_not_ours_says_so(lab: Lab) -> None:
    path = lab.folder / "empty.sqlite3"
    path.touch()
    lab.cluster("old", path, read_only=True)
    assert only(probe_all()).error == "empty: load its schema"


def test_garbage_is_down(lab: Lab) -> None:
    path = lab.folder / "garbage.sqlite3"
    path.write_bytes(b"These are no pages of a database. " * 300)
    lab.cluster("shop", path)
    status = only(probe_all())
    assert (status.state, status.error) == ("down", "file is not a database")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file; run the tests as another user")
def test_file_that_may_not_be_read_is_down(lab: Lab) -> None:
    path = lab.file("shop", item=1)
    path.chmod(0)
    lab.cluster("shop", path)
    assert only(probe_all()).error == "unable to open database file"


def test_folder_in_place_of_a_file_is_down(lab: Lab) -> None:
    lab.cluster("shop", lab.folder)
    assert only(probe_all()).error == "unable to open database file"


def test_replica_reads_its_primarys_file_and_is_read_only(lab: Lab) -> None:
    path = lab.file("shop", item=3)
    lab.cluster("shop", path, "blog")
    lab.alias("shop_replica", f"file:{path}?mode=ro", OPTIONS={"uri": True})
    lab.replicas("shop", "shop_replica")
    primary, replica = probe_all()
    assert (primary.role, primary.read_only) == ("primary", False)
    assert (replica.role, replica.read_only, replica.apps, replica.rows_text) == ("replica", True, ("blog",), "3")


def test_one_that_is_down_leaves_the_others_up(lab: Lab, closed_port: int) -> None:
    lab.cluster("shop", lab.file("shop", item=3))
    postgresql(lab, "users", closed_port)
    assert [status.state for status in probe_all()] == ["up", "down"]


def test_refused_connection_is_down_without_password_in_one_line(lab: Lab, closed_port: int) -> None:
    postgresql(lab, "users", closed_port)
    status = only(probe_all())
    assert "refused" in status.error
    assert "hunter2" not in repr(status)
    assert "\n" not in status.error


def test_password_in_a_drivers_message_is_left_out(lab: Lab) -> None:
    lab.cluster("shop", "x", PASSWORD="hunter2")
    assert probes._message("shop", ValueError("invalid dsn: password=hunter2")) == "invalid dsn: password=…"


def test_engine_that_is_not_installed_is_down(lab: Lab) -> None:
    lab.cluster("shop", "x", ENGINE="django.db.backends.nothing")
    status = only(probe_all())
    assert status.state == "down"
    assert "django.db.backends.nothing" in status.error


def test_hanging_server_is_down_at_the_deadline_and_the_others_are_up(lab: Lab, silent_port: int) -> None:
    postgresql(lab, "users", silent_port)
    lab.cluster("shop", lab.file("shop", item=3))
    started = time.monotonic()
    users, shop = probe_all(timeout=0.4)
    assert time.monotonic() - started < 0.8
    assert (users.state, users.error, shop.state) == ("down", "no answer within 0.4 s", "up")


def test_hanging_probe_is_not_started_twice_and_says_since_when(lab: Lab, silent_port: int) -> None:
    postgresql(lab, "users", silent_port)
    probe_all(timeout=0.3)
    again = [only(probe_all(timeout=0.3)) for _ in range(2)]
    assert sum(thread.name == "probe-users" for thread in threading.enumerate()) == 1
    assert "silent since" in again[-1].error


def test_server_that_answers_again_is_asked_anew(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        postgresql(lab, "users", server.getsockname()[1])
        assert only(probe_all(timeout=0.2)).error.startswith("no answer")
    for thread in threading.enumerate():
        if thread.name == "probe-users":
            thread.join(5)
    assert "refused" in only(probe_all()).error


def hanging_threads(alias: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"probe-{alias}"]


def test_database_that_answers_again_is_up_although_a_probe_still_hangs(
    lab: Lab, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "GIVE_UP_SECONDS", 0.3)
    postgresql(lab, "healed", silent_port)
    assert only(probe_all(timeout=0.1)).state == "down"
    connections.settings["healed"] |= {"ENGINE": SQLITE, "NAME": str(lab.file("healed", item=3)), "OPTIONS": {}}
    assert only(probe_all(timeout=0.1)).state == "down"
    time.sleep(0.3)
    assert only(probe_all()).state == "up"
    assert only(probe_all()).state == "up"
    assert len(hanging_threads("healed")) == 1


def test_hanging_threads_of_an_alias_are_bounded_and_tell_the_first_ones_time(
    lab: Lab, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "GIVE_UP_SECONDS", 0)
    postgresql(lab, "lost", silent_port)
    errors = [only(probe_all(timeout=0.15)).error for _ in range(probes.MAX_THREADS + 3)]
    assert len(hanging_threads("lost")) == probes.MAX_THREADS
    assert len({error.partition("silent since")[2] for error in errors if "silent" in error}) == 1


def test_probe_leaves_no_connection_and_no_thread(lab: Lab) -> None:
    path = lab.file("shop", item=3)
    lab.cluster("shop", path)
    probe_all()
    held = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert path not in held
    assert not [thread for thread in threading.enumerate() if thread.name == "probe-shop" and not thread.daemon]


def test_probe_does_not_use_the_requests_connection_or_ledger(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop", item=3))
    with open_ledger() as opened:
        probe_all()
    assert connections["shop"].connection is None
    assert opened.by_alias == {}


def test_table_that_takes_too_long_is_not_counted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.monitoring.engines.COUNTING_SECONDS", -1)
    lab.cluster("shop", lab.file("shop", large=50_000))
    status = only(probe_all())
    assert (status.state, status.tables, status.rows_text) == ("up", (Table("large", None, exact=True),), "unknown")


def test_table_name_with_a_quote_is_counted(lab: Lab) -> None:
    raw = sqlite3.connect(lab.folder / "shop.sqlite3")
    raw.execute('CREATE TABLE "it""s" (id INTEGER)')
    raw.close()
    lab.cluster("shop", lab.folder / "shop.sqlite3")
    assert only(probe_all()).state == "up"


def test_role_that_is_not_the_declared_one_is_remarked(lab: Lab) -> None:
    lab.cluster("shop", "x")
    status = Status(alias="a", cluster="c", apps=(), role="primary", declared_role="replica", state="up")
    assert status.remark == "declared as a replica, but it is a primary"


@pytest.mark.django_db(databases=["users_db"])
def test_test_databases_in_memory_can_be_probed() -> None:
    SessionStore().create()
    found = {status.alias: status for status in probe_all()}
    assert found["users_db"].state == "up"
    assert "django_session" in {table.name for table in found["users_db"].tables}
    assert "blog_post" not in {table.name for table in found["users_db"].tables}
