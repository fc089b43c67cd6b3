"""Replicas that die, hang, fall behind or change sides while visitors read: nobody sees it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import database_name, hung, python, running, site_on
from tests.servers.processes import Postgres, Server
from tests.servers.proxy import Proxy
from tests.servers.web import Answer, Visitor, Web, failed, figures, reading, report, served

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.servers.trouble_settings"}
WITHOUT_RETRY = {"WITHOUT_RETRY": "yes"}
PAGES = ["/", "/blog/", "/blog/search/?q=router", "/users/maya/", "/databases/", "/readyz"]
# The prober looks every second, and gives a server that is silent another.
NOTICED_WITHIN = 3.0
CONFLICTS = 100
DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"


class Servers(Postgres):
    """A primary, and a new standby for each test that spoils one."""

    def __init__(self) -> None:
        super().__init__(standbys=0)
        self.made = count(1)

    @contextmanager
    def standby(self) -> Iterator[Server]:
        # As many as there may be slots at once are fewer than tests.
        self.query("postgres", DROP_SLOTS, admin=True)
        made = self._make_standby(f"standby_{next(self.made)}")
        self.standbys.append(made)
        self.catch_up()
        yield made
        self.standbys.remove(made)
        made.resume()
        made.kill()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    yield from running(Servers)


@pytest.fixture(scope="module")
def filled(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site with the demo's content, and without a replica."""
    site = site_on(servers, tmp_path_factory.mktemp("trouble"))
    site.env |= SETTINGS
    site.manage("migrate_all", "--verbosity", "0")
    site.manage("load_legacy", "--verbosity", "0")
    site.manage("seed_demo", "--events=20", "--verbosity", "0")
    return site


@dataclass
class Victim:
    """A standby behind a proxy, to be spoilt, and the site that reads from it, and from no other."""

    servers: Servers
    standby: Server
    proxy: Proxy
    site: Site

    def query(self, sql: str) -> None:
        self.servers.query("postgres", sql, admin=True, on=self.standby)

    def write(self) -> None:
        """Something for the standby to replay."""
        self.servers.query("postgres", "SELECT pg_logical_emit_message(true, 'test', 'x')", admin=True)


@pytest.fixture
def victim(servers: Servers, filled: Site) -> Iterator[Victim]:
    with servers.standby() as standby:
        proxy = Proxy(standby.port)
        behind = Server("postgres", proxy.port, standby.pid)
        env = {
            "READ_REPLICA_URLS": behind.url(database_name(filled, "default")),
            "USERS_REPLICA_URLS": behind.url(database_name(filled, "users_db")),
        }
        yield Victim(servers, standby, proxy, Site(filled.var, env=filled.env | env))
        proxy.end()


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Nobody is answered, not even on a connection that is open: stopped, with every process that serves one."""
    server.stop()
    with hung(server.pid, *children(server.pid)):
        yield


@contextmanager
def killed(victim: Victim) -> Iterator[None]:
    victim.standby.kill()
    yield


@contextmanager
def stopped(victim: Victim) -> Iterator[None]:
    with frozen(victim.standby):
        yield


@contextmanager
def blackholed(victim: Victim) -> Iterator[None]:
    victim.proxy.blackhole()
    try:
        yield
    finally:
        victim.proxy.restore()


@contextmanager
def lagging(victim: Victim) -> Iterator[None]:
    victim.query("SELECT pg_wal_replay_pause()")
    victim.write()
    try:
        yield
    finally:
        victim.query("SELECT pg_wal_replay_resume()")


@contextmanager
def promoted(victim: Victim) -> Iterator[None]:
    victim.query("SELECT pg_promote()")
    yield


EVENTS = [killed, stopped, blackholed, lagging, promoted]
RETURNS = (stopped, blackholed, lagging)


@contextmanager
def crowd(web: Web) -> Iterator[list[Answer]]:
    """Three visitors, one of whom is logged in."""
    visitors = [Visitor(web) for _ in range(3)]
    visitors[0].log_in("maya")
    with reading(visitors, PAGES) as answers:
        time.sleep(1.5)
        yield answers


def readers_of(answers: list[Answer], since: float) -> set[str]:
    return set().union(*(answer.served_by for answer in answers if answer.at > since))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_no_safe_request_fails_while_a_replica_does(victim: Victim, event: Callable[[Victim], object]) -> None:
    with served(victim.site) as web, crowd(web) as answers:
        before = readers_of(answers, 0)
        with event(victim):  # type: ignore[attr-defined]
            time.sleep(NOTICED_WITHIN + 1)
            noticed = time.monotonic()
            time.sleep(1)
            during = readers_of(answers, noticed)
        back = time.monotonic() + NOTICED_WITHIN
        time.sleep(NOTICED_WITHIN + 1)
    report(figures(event.__name__, answers))
    replicas = {"read_replica_1", "users_replica_1"}
    assert replicas <= before
    assert not replicas & during, "out of rotation"
    assert (replicas <= readers_of(answers, back)) == (event in RETURNS), "and back on its own"
    assert failed(answers) == []


@pytest.mark.parametrize("event", [killed, stopped], ids=lambda event: event.__name__)
def test_control_without_the_second_attempt_they_fail(victim: Victim, event: Callable[[Victim], object]) -> None:
    with served(victim.site, **WITHOUT_RETRY) as web, crowd(web) as answers, event(victim):  # type: ignore[attr-defined]
        time.sleep(NOTICED_WITHIN)
    report(figures(f"control, {event.__name__}", answers))
    assert failed(answers)


@pytest.fixture(scope="module")
def reader(servers: Servers, filled: Site) -> Iterator[Site]:
    """The site with a standby that nothing happens to."""
    with servers.standby() as standby:
        env = {"READ_REPLICA_URLS": standby.url(database_name(filled, "default"))}
        yield Site(filled.var, env=filled.env | env)


KEEP_ERRORS = """
import sys
from django.core.signals import got_request_exception
errors = []
def keep(**kwargs):
    errors.append(sys.exc_info()[1])
got_request_exception.connect(keep)
"""
ASK = """
from django.conf import settings
from django.db import close_old_connections
from django.test import AsyncClient, Client
from asgiref.sync import async_to_sync
from apps.blog.models import Tag
from routers.health import snapshot
snapshot(timeout=2)
client = Client(headers={"host": "localhost"}, raise_request_exception=False)
"""


def test_second_attempt_is_made_whatever_way_the_first_one_failed(reader: Site) -> None:
    code = """
pages = ["dying", "caught", "by_cursor", "asynchronous", "from_thread"]
answer = {page: [(r := client.get(f"/{page}/")).status_code, r.content.decode()] for page in pages}
settings.ALLOWED_HOSTS += ["testserver"]
ask = async_to_sync(AsyncClient(raise_request_exception=False).get)
answer |= {f"{page}, async": [(r := ask(f"/{page}/")).status_code, r.content.decode()] for page in pages}
"""
    found = python(reader, ASK + code)
    assert found == {key: [200, "20 posts"] for key in found}
    assert len(found) == 10


def test_second_attempt_shows_what_made_it_and_its_own_queries_only(reader: Site) -> None:
    code = """
second = client.get("/dying/")
close_old_connections()  # as the end of a real request does, and that of a test client's does not
answer = [response.headers["Server-Timing"] for response in (second, client.get("/blog/"))]
"""
    second, next_request = python(reader, ASK + code)
    assert "db-default" in second
    assert "db-read_replica_1" not in second
    assert "db-read_replica_1" in next_request, "the replica is well, and only this request had to do without it"


def test_head_is_safe_too(reader: Site) -> None:
    code = 'r = client.head("/dying/")\nanswer = [r.status_code, r.content.decode()]'
    assert python(reader, ASK + code) == [200, ""]


def test_visitor_without_cookies_gets_the_one_that_the_form_needs(reader: Site) -> None:
    code = 'r = client.get("/with_form/")\nanswer = [r.status_code, "csrftoken" in r.cookies]'
    assert python(reader, ASK + code) == [200, True]


def test_unsafe_request_is_never_repeated(reader: Site) -> None:
    code = """
r = client.post("/written/", {"name": "once"})
answer = [r.status_code, Tag.objects.filter(name="once").delete()[0]]
"""
    assert python(reader, ASK + code) == [503, 1]


def test_response_that_has_begun_is_not_repeated(reader: Site) -> None:
    code = """
answer = []
try:
    for chunk in client.get("/streamed/").streaming_content:
        answer.append(chunk.decode())
except Exception as error:
    answer.append(type(error).__name__)
"""
    assert python(reader, ASK + code) == ["begun, ", "OperationalError"]


def test_write_to_a_primary_that_is_none_any_more_is_refused_for_the_moment_and_its_connection_dropped(
    reader: Site,
) -> None:
    code = """
from django.db import connections
client.get("/blog/")
old = connections["default"].pool
r = client.post("/written/", {"name": "nowhere"})
answer = [r.status_code, r.headers.get("Retry-After"), old.closed, "a server that takes no writes" in str(errors)]
"""
    demoted = Site(reader.var, env=reader.env | {"DATABASE_URL": reader.env["READ_REPLICA_URLS"]})
    assert python(demoted, KEEP_ERRORS + ASK + code) == [503, "10", True, True]


def test_server_that_changes_sides_is_looked_for_anew(victim: Victim) -> None:
    code = f"""
import psycopg, time
from routers.health import health, prober
watch = prober.watches["read_replica_1"]
before, role = watch._probe, health("read_replica_1").role
with psycopg.connect({victim.standby.url("postgres", "postgres")!r}, autocommit=True) as admin:
    admin.execute("SELECT pg_promote()")
deadline = time.monotonic() + 10
while health("read_replica_1").role == role and time.monotonic() < deadline:
    time.sleep(0.05)
answer = [role, health("read_replica_1").role, watch._probe is before]
"""
    assert python(victim.site, ASK + code) == ["replica", "primary", False]


@contextmanager
def conflicts(victim: Victim, database: str) -> Iterator[Callable[[], int]]:
    """The standby cancels whoever reads the posts as soon as the primary has locked their table, and counts them."""
    over = Event()
    victim.query("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    victim.query("SELECT pg_reload_conf()")

    def lock() -> None:
        while not over.wait(0.2):
            sql = "BEGIN; LOCK TABLE blog_post IN ACCESS EXCLUSIVE MODE; COMMIT"
            victim.servers.query(database, sql, admin=True)

    def met() -> int:
        sql = "SELECT sum(confl_lock) FROM pg_stat_database_conflicts"
        return int(victim.servers.query("postgres", sql, admin=True, on=victim.standby)[0][0])

    thread = Thread(target=lock, daemon=True)
    thread.start()
    yield met
    over.set()
    thread.join()


def meet_conflicts(victim: Victim, number: int, **env: str) -> tuple[int, list[Answer]]:
    """Visitors read slowly until the standby has cancelled so many reads; how many it were, and what was answered."""
    database = database_name(victim.site, "default")
    with served(victim.site, **env) as web:
        assert Visitor(web).get("/slow/").status == 200
        with conflicts(victim, database) as met, reading([Visitor(web) for _ in range(6)], ["/slow/"]) as answers:
            deadline = time.monotonic() + number * 2
            while met() < number and time.monotonic() < deadline:
                time.sleep(0.2)
        return met(), answers


def test_no_recovery_conflict_is_seen(victim: Victim) -> None:
    met, answers = meet_conflicts(victim, CONFLICTS)
    report(figures(f"{met} recovery conflicts", answers))
    assert met >= CONFLICTS
    assert failed(answers) == []


def test_control_without_the_second_attempt_recovery_conflicts_are_seen(victim: Victim) -> None:
    met, answers = meet_conflicts(victim, CONFLICTS // 10, **WITHOUT_RETRY)
    report(figures(f"control, {met} recovery conflicts", answers))
    assert len(failed(answers)) >= CONFLICTS // 10
