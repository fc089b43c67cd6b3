"""The prober and its breaker, on files and sockets. Real servers have theirs in tests/servers."""

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.test import Client
from pytest_django import Settings

from routers import health
from routers.health import PROBE_DEADLINE, DatabaseUnavailable, Health, Watch, in_one_line, prober, snapshot
from routers.probing import Probe, _behind
from routers.topology import Cluster


class Lab:
    """Clusters of one database each, under the name of its alias; forgotten afterwards."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.added = folder, settings, list[str]()
        settings.SHARED_APPS = {}
        settings.CLUSTERS = ()

    def file(self, name: str) -> Path:
        path = self.folder / f"{name}.sqlite3"
        path.touch()
        return path

    def cluster(self, alias: str, name: object, **config: Any) -> None:
        made = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(name), "OPTIONS": {}, **config}
        connections.settings[alias] = connections.configure_settings({DEFAULT_DB_ALIAS: {}, alias: made})[alias]
        self.added.append(alias)
        self.settings.CLUSTERS = (*self.settings.CLUSTERS, Cluster(name=alias, primary=alias, apps=()))

    def forget(self) -> None:
        for alias in self.added:
            del connections.settings[alias]


@pytest.fixture
def lab(tmp_path: Path, settings: Settings) -> Iterator[Lab]:
    """An empty topology, for a prober that is fast."""
    made = Lab(tmp_path, settings)
    settings.DATABASE_PROBE_SECONDS = 0.02
    settings.DATABASE_PROBER = True
    yield made
    prober.stop()
    made.forget()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def on_port(lab: Lab, name: str, port: int) -> None:
    lab.cluster(name, "x", ENGINE="django.db.backends.postgresql", HOST="127.0.0.1", PORT=port, PASSWORD="hunter2")


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_database_that_answers_is_up_and_refuses_nobody(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop"))
    found = snapshot()["shop"]
    assert (found.state, found.error, found.role) == ("up", "", None)
    assert found.latency_ms is not None
    health.refuse_if_down("shop")


def test_database_that_is_down_is_refused_in_a_whole_sentence(lab: Lab, closed_port: int) -> None:
    on_port(lab, "shop", closed_port)
    snapshot()
    wait_until(lambda: health.is_down("shop"))
    since = health.health("shop").since
    with pytest.raises(DatabaseUnavailable) as refused:
        health.refuse_if_down("shop")
    assert isinstance(refused.value, OperationalError)
    said = str(refused.value)
    assert said.startswith(f"shop has been down since {since:%Y-%m-%d %H:%M:%S} UTC (")
    assert "refused" in said
    assert said.endswith("It is asked again every second, and used again as soon as it answers.")
    assert "hunter2" not in said


def test_breaker_opens_and_closes_by_itself(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.file("shop")
    lab.cluster("shop", path)
    snapshot()
    with caplog.at_level(logging.WARNING, logger="routers.health"):
        path.rename(path.with_suffix(".away"))
        wait_until(lambda: health.is_down("shop"))
        path.with_suffix(".away").rename(path)
        wait_until(lambda: not health.is_down("shop"))
    assert [record.getMessage() for record in caplog.records] == ["shop is down: no such file", "shop is up"]
    assert {record.alias for record in caplog.records} == {"shop"}  # type: ignore[attr-defined]


def test_since_is_when_the_state_changed(lab: Lab, closed_port: int) -> None:
    lab.cluster("shop", lab.file("shop"))
    on_port(lab, "users", closed_port)
    first = snapshot()
    wait_until(lambda: all(health.health(alias).checked_at != first[alias].checked_at for alias in first))
    assert [health.health(alias).since for alias in first] == [each.since for each in first.values()]


def test_without_a_prober_nothing_is_known_and_nothing_refused(lab: Lab) -> None:
    lab.cluster("shop", lab.folder / "none")
    assert health.health("shop") == Health(alias="shop")
    assert not health.is_down("shop")
    health.suspect("shop")


def test_first_request_starts_the_prober(lab: Lab, client: Client) -> None:
    lab.cluster("shop", lab.file("shop"))
    client.get("/healthz")
    watches = prober.watches
    assert set(watches) == {"shop"}
    client.get("/healthz")
    assert prober.watches is watches


def test_prober_that_is_off_looks_once_when_it_is_asked(lab: Lab, client: Client, settings: Settings) -> None:
    settings.DATABASE_PROBER = False
    lab.cluster("shop", lab.file("shop"))
    client.get("/healthz")
    assert prober.watches == {}
    assert snapshot()["shop"].state == "up"
    assert prober.watches == {}
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "health-shop"])


def test_another_topology_ends_the_prober(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop"))
    snapshot()
    lab.cluster("users", lab.file("users"))
    assert prober.watches == {}
    assert set(snapshot()) == {"shop", "users"}


def test_suspicion_has_the_prober_look_at_once(lab: Lab, settings: Settings) -> None:
    settings.DATABASE_PROBE_SECONDS = 600
    lab.cluster("shop", lab.file("shop"))
    first = snapshot()["shop"].checked_at
    time.sleep(0.05)
    assert health.health("shop").checked_at == first
    health.suspect("shop")
    wait_until(lambda: health.health("shop").checked_at != first)


def watch(*, state: str = "up", under_way: float | None = None, ended: float = 0) -> Watch:
    """One whose thread is not running: with a look that began so many seconds ago, or that ended then."""
    made = Watch("shop")
    made.seen = Health(alias="shop", state=state, role="primary", flushed=7, latency_ms=1, since=datetime.now(tz=UTC))
    made._began = None if under_way is None else time.monotonic() - under_way
    made._ended = time.monotonic() - ended
    return made


@pytest.mark.parametrize(
    ("under_way", "suspected", "state"),
    [
        (0.5 * PROBE_DEADLINE, True, "up"),
        (1.5 * PROBE_DEADLINE, False, "up"),
        (1.5 * PROBE_DEADLINE, True, "down"),
        (2.5 * PROBE_DEADLINE, False, "down"),
    ],
)
def test_late_answer_is_waited_for_but_not_twice_and_not_with_a_visitor(
    under_way: float, suspected: bool, state: str
) -> None:
    hanging = watch(under_way=under_way)
    if suspected:
        hanging.suspect()
    assert (hanging.state, hanging.health().state) == (state, state)


def test_thread_that_hangs_is_down_for_whoever_asks() -> None:
    found = watch(under_way=3600).health()
    assert (found.state, found.role, found.flushed, found.latency_ms) == ("down", "primary", 7, None)
    assert found.error.startswith("no answer since ")


@pytest.mark.parametrize("state", ["up", "down"])
def test_what_was_seen_too_long_ago_is_not_known_any_more(state: str) -> None:
    assert watch(state=state, ended=1).state == state
    found = watch(state=state, ended=3600).health()
    assert (found.state, found.error) == ("unknown", "nobody has looked lately")


def test_first_answer_is_waited_for_no_longer_than_asked(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        on_port(lab, "shop", server.getsockname()[1])
        found = snapshot(timeout=0.05)["shop"]
    assert (found.state, found.error) == ("unknown", "no answer yet")


def test_stopped_prober_leaves_no_thread(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop"))
    snapshot()
    prober.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "health-shop"]


def test_prober_that_is_forgotten_leaves_its_connections_open_as_they_are_the_parents(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop"))
    snapshot()
    watch = prober.watches["shop"]
    prober.forget()
    assert prober.watches == {}
    assert watch.thread.is_alive(), "here, where there was no fork"
    watch.stop()
    watch.thread.join()


def test_database_in_memory_is_up(lab: Lab) -> None:
    lab.cluster("shop", ":memory:")
    assert snapshot()["shop"].state == "up"


def test_engine_of_which_nothing_is_known_is_asked_all_the_same(lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop"))
    probe = Probe(connections["shop"])
    assert set(probe.ask(Health(alias="shop"))) == {"latency_ms"}
    probe.close()


def test_password_in_a_drivers_message_is_left_out(lab: Lab, settings: Settings) -> None:
    settings.DATABASE_PROBE = {"USER": "probe", "PASSWORD": "tell-nobody"}
    lab.cluster("shop", "x", PASSWORD="hunter2", OPTIONS={"passfile": "/secret"})
    error = ValueError("invalid dsn: password=hunter2\n  or tell-nobody\tor /secret")
    assert in_one_line("shop", error) == "invalid dsn: password=… or … or …"


def test_error_without_words_is_named() -> None:
    assert in_one_line("shop", ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("received", "flushed", "replayed", "behind"),
    [
        (100, None, 100, 0),
        (150, None, 100, 50),
        (150, 180, 100, 80),
        (None, 180, 100, 80),
        (90, 95, 100, 0),
        (None, None, 100, None),
        (100, 100, None, None),
    ],
)
def test_bytes_behind(received: int | None, flushed: int | None, replayed: int | None, behind: int | None) -> None:
    assert _behind(received, flushed, replayed) == behind


def test_health_is_imported_without_any_driver() -> None:
    code = "import sys, routers.health; print({'psycopg', 'MySQLdb'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
