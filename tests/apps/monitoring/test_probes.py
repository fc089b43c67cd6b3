"""How a database is found to be, with real files and real sockets."""

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, connections

from apps.monitoring import probes
from apps.monitoring.engines import Facts, Table
from apps.monitoring.ledger import open_ledger
from apps.monitoring.probes import Status, probe_all
from routers.health import Health
from routers.topology import Cluster
from tests.apps.monitoring.conftest import Lab

POSTGRESQL = "django.db.backends.postgresql"
Patch = pytest.MonkeyPatch


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


def held(status: Status) -> Facts:
    assert status.facts
    return status.facts


def test_file_is_up_with_engine_size_and_exact_rows(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop", item=3, customer=0), "blog")
    status = only(probe_all())
    assert (status.alias, status.cluster.name, status.role, status.state) == ("shop", "shop", "primary", "up")
    assert status.apps == ("blog",)
    facts = held(status)
    assert (facts.engine, facts.version) == ("SQLite", sqlite3.sqlite_version)
    assert facts.tables == (Table("customer", 0, exact=True), Table("item", 3, exact=True))
    assert facts.size_bytes == (lab.folder / "shop.sqlite3").stat().st_size
    assert status.health.latency_ms is not None
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
    assert (replica.role, replica.read_only, replica.apps, held(replica).rows_text) == ("replica", True, ("blog",), "3")


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


def test_engine_that_is_not_installed_is_down(lab: Lab) -> None:
    lab.cluster("shop", "x", ENGINE="django.db.backends.nothing")
    status = only(probe_all())
    assert status.state == "down"
    assert "django.db.backends.nothing" in status.error


def test_hanging_server_is_down_in_time_and_the_others_are_up(lab: Lab, silent_port: int) -> None:
    postgresql(lab, "users", silent_port)
    lab.cluster("shop", lab.file("shop", item=3))
    users, shop = probe_all()
    assert (users.state, users.error[:15], shop.state) == ("down", "no answer since", "up")


def test_server_that_did_not_answer_in_time_is_not_called_down(lab: Lab, silent_port: int) -> None:
    postgresql(lab, "users", silent_port)
    status = only(probe_all(timeout=0.1))
    assert (status.state, status.error, status.is_usable) == ("unknown", "no answer yet", False)


def test_only_databases_that_are_up_are_asked_for_facts(lab: Lab, closed_port: int, monkeypatch: Patch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(probes, "facts", lambda connection: asked.append(connection.alias))
    lab.cluster("shop", lab.file("shop", item=3))
    postgresql(lab, "users", closed_port)
    probe_all()
    assert asked == ["shop"]


def test_facts_that_take_too_long_are_left_out(lab: Lab, monkeypatch: Patch) -> None:
    gone_on = threading.Event()
    monkeypatch.setattr(probes, "facts", lambda connection: gone_on.wait(5))
    lab.cluster("shop", lab.file("shop", item=3))
    status = only(probe_all(facts_timeout=0.05))
    gone_on.set()
    assert (status.state, status.facts, status.is_usable) == ("up", None, True)


def test_facts_that_cannot_be_had_are_left_out(lab: Lab, monkeypatch: Patch) -> None:
    def refuse(connection: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(probes, "facts", refuse)
    lab.cluster("shop", lab.file("shop", item=3))
    assert only(probe_all()).facts is None


def test_nothing_is_left_open(lab: Lab) -> None:
    path = lab.file("shop", item=3)
    lab.cluster("shop", path)
    probe_all()
    for thread in threading.enumerate():
        if thread.name == "health-shop":
            thread.join(5)
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert path not in links


def test_probe_does_not_use_the_requests_connection_or_ledger(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop", item=3))
    with open_ledger() as opened:
        probe_all()
    assert connections["shop"].connection is None
    assert opened.by_alias == {}


def test_table_that_takes_too_long_is_not_counted(lab: Lab, monkeypatch: Patch) -> None:
    monkeypatch.setattr("apps.monitoring.engines.COUNTING_SECONDS", -1)
    lab.cluster("shop", lab.file("shop", large=50_000))
    facts = held(only(probe_all()))
    assert (facts.tables, facts.rows_text) == ((Table("large", None, exact=True),), "unknown")


def test_table_name_with_a_quote_does_no_harm(lab: Lab) -> None:
    raw = sqlite3.connect(lab.folder / "shop.sqlite3")
    raw.execute('CREATE TABLE "it""s" (id INTEGER)')
    raw.close()
    lab.cluster("shop", lab.folder / "shop.sqlite3")
    assert held(only(probe_all())).tables == (Table('it"s', None, exact=True),)


def replica(**seen: Any) -> Status:
    """A replica of a cluster, as it was seen."""
    cluster = Cluster(name="shop", primary="shop", apps=(), replicas=("shop_replica",))
    return Status(cluster=cluster, health=Health(alias="shop_replica", state="up", **seen))


def test_role_that_is_not_the_declared_one_is_remarked() -> None:
    assert replica(role="primary").remark == "declared as a replica, but it is a primary"


@pytest.mark.parametrize(
    ("lag_bytes", "lag_seconds", "text"),
    [
        (None, None, "unknown"),
        (0, 0, "none"),
        (1536, 2.345, "1.5 KB, 2.3 s"),
        (1536, None, "1.5 KB"),
    ],
)
def test_lag_in_words(lag_bytes: int | None, lag_seconds: float | None, text: str) -> None:
    assert replica(role="replica", lag_bytes=lag_bytes, lag_seconds=lag_seconds).lag_text == text


def test_lag_is_nothing_where_the_engine_has_no_replicas() -> None:
    assert replica(role=None).lag_text == ""


def test_replica_that_does_not_stream_is_of_no_use_and_says_so() -> None:
    status = replica(role="replica", is_streaming=False)
    assert (status.is_up, status.is_usable, status.remark) == (True, False, "its WAL receiver is not streaming")


def test_replica_whose_streaming_nobody_may_see_is_taken_for_well() -> None:
    assert replica(role="replica", is_streaming=None).is_usable


@pytest.mark.django_db(databases=["users_db"])
def test_test_databases_in_memory_can_be_probed() -> None:
    SessionStore().create()
    found = {status.alias: status for status in probe_all()}
    assert found["users_db"].state == "up"
    tables = {table.name for table in held(found["users_db"]).tables}
    assert "django_session" in tables
    assert "blog_post" not in tables
