"""What the prober sees of real servers: down, hanging, back again, and how far a replica is behind."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import DjangoDbBlocker, Settings

from config.settings.databases import for_visitors, parse_url
from routers import health
from routers.health import DatabaseUnavailable, Health, prober, snapshot
from tests.apps.monitoring.conftest import Lab
from tests.project.conftest import Site
from tests.servers.conftest import python
from tests.servers.processes import MySQL, Postgres, Server

KINDS = ["primary", "replica", "legacy"]
PATIENCE = 10  # seconds, on a machine that is busy


class Watched(Lab):
    """Clusters on real servers, as visitors have them, and a prober that looks at them often."""

    def server(self, alias: str, url: str, *, of: str = "") -> None:
        config = for_visitors(parse_url("URL", url))
        if of:
            self.alias(alias, config.pop("NAME"), **config)
            self.replicas(of, alias)
        else:
            self.cluster(alias, config.pop("NAME"), **config)

    def forget(self) -> None:
        for alias in self.added:
            wrapper: Any = connections[alias]
            wrapper.close()
            if hasattr(wrapper, "close_pool"):
                wrapper.close_pool()
        super().forget()


@pytest.fixture
def watched(tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[Watched]:
    made = Watched(tmp_path, settings)
    settings.DATABASE_PROBER, settings.DATABASE_PROBE_SECONDS = True, 0.2
    with django_db_blocker.unblock():
        yield made
        prober.stop()
        made.forget()


@pytest.fixture
def all_kinds(watched: Watched, postgres: Postgres, mysql: MySQL) -> dict[str, Server]:
    """An alias of each kind, and its server."""
    watched.server("primary", postgres.url("postgres"))
    watched.server("replica", postgres.standbys[0].url("postgres"), of="primary")
    watched.server("legacy", mysql.url())
    snapshot(timeout=PATIENCE)
    return {"primary": postgres.primary, "replica": postgres.standbys[0], "legacy": mysql.server}


@pytest.fixture
def doomed(watched: Watched) -> Iterator[Postgres]:
    """Servers for one test alone, which may kill them; behind `primary` and `replica`."""
    servers = Postgres()
    watched.server("primary", servers.url("postgres"))
    watched.server("replica", servers.standbys[0].url("postgres"), of="primary")
    yield servers
    prober.stop()
    servers.end()


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    """Stop the server and the processes it has for its connections, which would go on answering without it."""
    server.stop()
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGSTOP)
    try:
        yield
    finally:
        for child in children:
            os.kill(int(child), signal.SIGCONT)
        server.resume()


def restart(servers: Postgres, name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a server that was killed again, on the port that it had."""
    monkeypatch.setattr("tests.servers.processes.free_port", lambda: server.port)
    server.pid = servers._start(name).pid


def wait_until(true: Callable[[], object]) -> float:
    """Returns the seconds that it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.01)
    return time.monotonic() - started


def seen(alias: str) -> Health:
    return health.health(alias)


def looked_again(alias: str) -> Health:
    """What a look finds that begins from now on."""
    for _ in range(2):
        wait_until(partial(_differs, alias, seen(alias).checked_at))
    return seen(alias)


def _differs(alias: str, checked_at: datetime | None) -> bool:
    return seen(alias).checked_at != checked_at


def pool(alias: str) -> Any:
    wrapper: Any = connections[alias]
    return wrapper.pool


def ask(alias: str, sql: str = "SELECT 1") -> Any:
    """As a visitor does: a connection from the pool, and back into it."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]
    finally:
        connections[alias].close()


def test_each_kind_is_up_with_the_role_that_it_says(all_kinds: dict[str, Server]) -> None:
    found = {alias: looked_again(alias) for alias in KINDS}
    assert {each.state for each in found.values()} == {"up"}
    assert [found[alias].role for alias in KINDS] == ["primary", "replica", None]
    assert all(each.latency_ms for each in found.values())


@pytest.mark.parametrize("alias", KINDS)
def test_server_that_hangs_is_refused_and_used_again_when_it_answers(all_kinds: dict[str, Server], alias: str) -> None:
    with hanging(all_kinds[alias]):
        wait_until(lambda: health.is_down(alias))
        with pytest.raises(DatabaseUnavailable, match=f"^{alias} has been down since .* UTC"):
            ask(alias)
        since = seen(alias).since
        time.sleep(1)
        assert seen(alias).since == since
    wait_until(lambda: not health.is_down(alias))
    assert ask(alias) == 1


@pytest.mark.parametrize("alias", KINDS)
def test_nobody_connects_behind_an_open_breaker(
    all_kinds: dict[str, Server], alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper, threads = type(connections[alias]), []
    connect = wrapper.get_new_connection

    def spy(self: BaseDatabaseWrapper, params: dict[str, Any]) -> Any:
        threads.append(threading.current_thread())
        return connect(self, params)

    monkeypatch.setattr(wrapper, "get_new_connection", spy)
    with hanging(all_kinds[alias]):
        wait_until(lambda: health.is_down(alias))
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable):
                ask(alias)
    assert threading.current_thread() not in threads


def test_late_answer_of_a_server_that_nobody_waits_for_opens_no_breaker(
    all_kinds: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    states: set[str] = set()
    with hanging(all_kinds["primary"]):
        until = time.monotonic() + 0.4  # and some, for the look that is under way then
        while time.monotonic() < until:
            states.add(seen("primary").state)
    assert looked_again("primary").state == "up"
    assert states == {"up"}


def test_killed_server_is_down_and_comes_back_with_a_new_pool(
    doomed: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask("primary") == 1
    before = pool("primary")
    snapshot(timeout=PATIENCE)
    doomed.primary.kill()
    wait_until(lambda: health.is_down("primary"))
    assert "refused" in seen("primary").error
    assert (seen("primary").role, seen("primary").lag_bytes) == ("primary", None)
    with pytest.raises(DatabaseUnavailable):
        ask("primary")
    wait_until(lambda: seen("replica").is_streaming is False)
    assert seen("replica").lag_bytes == 0, "as far as anybody knows"
    restart(doomed, "primary", doomed.primary, monkeypatch)
    wait_until(lambda: not health.is_down("primary"))
    started = time.monotonic()
    assert ask("primary") == 1
    assert time.monotonic() - started < 1
    assert before.closed
    wait_until(lambda: seen("replica").lag_bytes == 0)


def test_server_that_was_restarted_between_two_looks_has_been_up_all_along(
    watched: Watched, postgres: Postgres
) -> None:
    watched.server("primary", postgres.url("postgres"))
    snapshot(timeout=PATIENCE)
    assert ask("primary") == 1
    before, since = pool("primary"), seen("primary").since
    ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    postgres.query("postgres", f"{ended} AND pid != pg_backend_pid()", admin=True)
    assert ask("primary") == 1, "the dead connection is passed over"
    looked_again("primary")
    assert (seen("primary").since, pool("primary")) == (since, before)


def test_pool_is_not_renewed_while_nothing_happens(watched: Watched, postgres: Postgres) -> None:
    watched.server("primary", postgres.url("postgres"))
    assert ask("primary") == 1
    before = pool("primary")
    snapshot(timeout=PATIENCE)
    looked_again("primary")
    assert pool("primary") is before


def test_promoted_replica_says_that_it_is_a_primary(doomed: Postgres) -> None:
    snapshot(timeout=PATIENCE)
    doomed.query("postgres", "SELECT pg_promote()", admin=True, on=doomed.standbys[0])
    wait_until(lambda: seen("replica").role == "primary")
    found = seen("replica")
    assert (found.timeline, found.lag_bytes, found.is_streaming) == (2, None, None)
    assert found.flushed


@pytest.fixture
def privileged(postgres: Postgres, settings: Settings) -> Iterator[None]:
    """An account for probing that may see what a WAL receiver does."""
    postgres.query("postgres", "CREATE ROLE prober LOGIN PASSWORD 'pr0be' IN ROLE pg_read_all_stats", admin=True)
    postgres.catch_up()
    settings.DATABASE_PROBE = {"USER": "prober", "PASSWORD": "pr0be"}
    yield
    prober.stop()
    postgres.query("postgres", "DROP ROLE prober", admin=True)


@pytest.mark.usefixtures("privileged")
def test_idle_replica_that_has_all_is_not_behind_whatever_its_clock_says(
    all_kinds: dict[str, Server], postgres: Postgres
) -> None:
    postgres.query("postgres", "SELECT txid_current()", admin=True)
    postgres.catch_up()
    time.sleep(1.1)
    naive = "SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8"
    assert postgres.query("postgres", naive, admin=True, on=all_kinds["replica"])[0][0] > 1
    found = looked_again("replica")
    assert (found.lag_bytes, found.lag_seconds, found.is_streaming, found.timeline) == (0, 0, True, 1)
    assert found.received == found.replayed == looked_again("primary").flushed


@pytest.mark.usefixtures("privileged")
def test_replica_that_replays_nothing_is_behind_by_what_the_primary_has_written(
    all_kinds: dict[str, Server], postgres: Postgres
) -> None:
    postgres.catch_up()
    wait_until(lambda: looked_again("replica").lag_bytes == 0)
    replica = all_kinds["replica"]
    postgres.query("postgres", "SELECT pg_wal_replay_pause()", admin=True, on=replica)
    try:
        wait_until(
            lambda: (
                postgres.query("postgres", "SELECT pg_get_wal_replay_pause_state()", admin=True, on=replica)
                == [("paused",)]
            )
        )
        postgres.query("postgres", "CREATE TABLE lag AS SELECT generate_series(1, 5000)", admin=True)
        wait_until(lambda: (seen("replica").lag_bytes or 0) > 100_000)
        first = looked_again("replica").lag_seconds
        assert first is not None
        time.sleep(0.5)
        then = looked_again("replica").lag_seconds
        assert then is not None
        assert first + 0.4 < then < PATIENCE
    finally:
        postgres.query("postgres", "SELECT pg_wal_replay_resume()", admin=True, on=replica)
        postgres.query("postgres", "DROP TABLE lag", admin=True)
    wait_until(lambda: (seen("replica").lag_bytes, seen("replica").lag_seconds) == (0, 0))


def test_account_without_privileges_sees_the_lag_behind_its_primary_but_not_the_receiver(
    all_kinds: dict[str, Server], postgres: Postgres
) -> None:
    postgres.catch_up()
    wait_until(lambda: looked_again("replica").lag_bytes == 0)
    assert (seen("replica").is_streaming, seen("replica").timeline) == (None, 1)


def test_account_without_privileges_guesses_nothing_about_a_primary_that_nobody_knows(
    watched: Watched, postgres: Postgres
) -> None:
    watched.server("replica", postgres.standbys[0].url("postgres"))
    found = snapshot(timeout=PATIENCE)["replica"]
    assert (found.role, found.lag_bytes, found.lag_seconds) == ("replica", None, None)


def test_account_for_probing_that_is_refused_refuses_nobody(
    watched: Watched, postgres: Postgres, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DATABASE_PROBE = {"USER": "nobody", "PASSWORD": "tell-nobody"}
    watched.server("primary", postgres.url("postgres"))
    assert snapshot(timeout=PATIENCE)["primary"].state == "up"
    assert "refused the account of DATABASE_PROBE_USER" in caplog.text
    assert "tell-nobody" not in caplog.text


def test_forked_process_has_a_prober_of_its_own_and_leaves_its_parents_alone(servers_site: Site) -> None:
    code = """
import os, time, warnings
from routers.health import health, prober, snapshot
def sees():
    return sorted({h.state for h in snapshot(timeout=5).values()})
answer = [sees()]
before = {alias: id(watch._probe) for alias, watch in prober.watches.items()}
warnings.simplefilter("ignore")  # Python's, of forking with threads: that is what this is about
reader, writer = os.pipe()
if not (pid := os.fork()):
    os.write(writer, repr([prober.watches, health("default").state, sees()]).encode())
    prober.stop()
    os._exit(0)
os.waitpid(pid, 0)
answer.append(os.read(reader, 1000).decode())
time.sleep(1.5)
answer.append(sees())
answer.append(before == {alias: id(watch._probe) for alias, watch in prober.watches.items()})
"""
    assert python(servers_site, code) == [["up"], "[{}, 'unknown', ['up']]", ["up"], True]


def test_process_ends_without_noise_and_at_once_while_servers_hang(
    servers_site: Site, postgres: Postgres, mysql: MySQL
) -> None:
    code = "from routers.health import snapshot; print(len(snapshot(timeout=5)))"
    assert servers_site.manage("shell", "--no-imports", "--command", code).strip() == "7"
    with hanging(postgres.standbys[0]), hanging(mysql.server):
        said = servers_site.manage("shell", "--no-imports", "--command", f"{code}; import time; time.sleep(1.2)")
    assert said.splitlines()[0] == "7"
    assert "Traceback" not in said


# What the pages of a site answer, and in how many seconds, from inside it.
PAGES = """
import os, signal, time
from pathlib import Path
from django.test import Client
from apps.blog.models import Post
from routers.health import health, is_down
client = Client(headers={"host": "localhost"})
client.raise_request_exception = False
PAGES = ["/", "/blog/", Post.objects.order_by("pk").first().get_absolute_url()]
EXTRAS = ["analytics_db", "legacy_db", "cache_db"]
def statuses(*paths):
    return [client.get(path).status_code for path in paths or PAGES]
def until(true):
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline, [health(alias) for alias in EXTRAS]
        time.sleep(0.02)
def seconds(path):
    started = time.monotonic()
    client.get(path, headers={"host": "10.0.0.7"})
    return time.monotonic() - started
def in_time():
    # The machine may be busy with something else, but never for that long.
    taken = [[seconds(path) for _ in range(3)] for path in ("/healthz", "/readyz")]
    return [min(three) < 1 and max(three) < 2.5 for three in taken]
def send(number, pids):
    for pid in pids:
        os.kill(pid, number)
def family(pid):
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
"""


@contextmanager
def refusing() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


@contextmanager
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@contextmanager
def dropping() -> Iterator[int]:
    """A port where nothing comes back: the queue is full, so what asks to connect is dropped, as by a firewall."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize("broken", [refusing, silent, dropping])
def test_main_pages_do_without_the_other_databases(
    servers_site: Site, broken: Callable[[], AbstractContextManager[int]]
) -> None:
    with broken() as port:
        urls = {
            "ANALYTICS_DATABASE_URL": f"postgres://ann:pw@127.0.0.1:{port}/analytics",
            "LEGACY_DATABASE_URL": f"mysql://ann:pw@127.0.0.1:{port}/legacy",
            "CACHE_DATABASE_URL": f"postgres://ann:pw@127.0.0.1:{port}/cache",
        }
        code = """
answer = [statuses()]
until(lambda: all(is_down(alias) for alias in EXTRAS))
answer += [statuses(), client.get("/readyz").json()["status"], in_time()]
"""
        found = python(Site(servers_site.var, env=servers_site.env | urls), PAGES + code)
    assert found == [[200] * 3, [200] * 3, "degraded", [True, True]]


@pytest.mark.parametrize("broken", [refusing, silent, dropping])
def test_health_pages_answer_within_a_second_without_the_main_databases(
    servers_site: Site, broken: Callable[[], AbstractContextManager[int]]
) -> None:
    with broken() as port:
        names = ("DATABASE_URL", "USERS_DATABASE_URL", "READ_REPLICA_URLS", "USERS_REPLICA_URLS")
        urls = dict.fromkeys(names, f"postgres://ann:pw@127.0.0.1:{port}/any")
        code = """
answer = [in_time()]
until(lambda: is_down("default") and is_down("users_db"))
answer += [in_time(), statuses("/healthz", "/readyz"), client.get("/readyz").json()["status"]]
"""
        before_post = PAGES.replace('Post.objects.order_by("pk").first().get_absolute_url()', '""')
        found = python(Site(servers_site.var, env=servers_site.env | urls), before_post + code)
    assert found == [[True, True], [True, True], [200, 503], "down"]


def test_pages_go_on_while_servers_hang_and_when_they_are_back(
    servers_site: Site, doomed: Postgres, mysql: MySQL
) -> None:
    """Analytics and the cache on one server, the old system on another; all of them stop in the middle."""
    urls = {
        "ANALYTICS_DATABASE_URL": doomed.url(doomed.create_database("analytics")),
        "CACHE_DATABASE_URL": doomed.url(doomed.create_database("cache")),
    }
    site = Site(servers_site.var, env=servers_site.env | urls)
    site.manage("migrate_all", "--verbosity", "0")
    code = f"""
others = ["/analytics/", "/legacy/"]
answer = [statuses(*others), statuses()]
until(lambda: health("legacy_db").state == "up")
hung = family({doomed.primary.pid}) + family({mysql.server.pid})
send(signal.SIGSTOP, hung)
try:
    answer.append(statuses())
    until(lambda: all(is_down(alias) for alias in EXTRAS))
    answer += [statuses(), statuses(*others), in_time()]
finally:
    send(signal.SIGCONT, hung)
until(lambda: not any(is_down(alias) for alias in EXTRAS))
answer += [statuses(*others), statuses()]
"""
    found = python(site, PAGES + code)
    well = [200] * 3
    assert found == [[200, 200], well, well, well, [503, 503], [True, True], [200, 200], well]
