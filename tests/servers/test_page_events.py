"""Page views while the analytics database is away, and when a web process dies: no page waits, no view is lost.

OUTBOX_OUTAGE=60 makes the outages as long as that.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import VARIABLES, database_name, running
from tests.servers.processes import Postgres
from tests.servers.test_outbox import OUTAGE, away
from tests.servers.test_trouble import children
from tests.servers.web import Answer, Visitor, Web, failed, figures, report, served

# None of them reads from analytics, and each is there without any content.
PAGES = ["/", "/blog/", "/users/login/"]
ROUNDS = 30
KILLS = 5
VIEWS = "SELECT data->>'path' FROM analytics_analyticsevent ORDER BY timestamp"


@pytest.fixture
def elsewhere() -> Iterator[Postgres]:
    """A server of its own for analytics."""
    yield from running(partial(Postgres, standbys=0))


@pytest.fixture
def divided(migrated_copy: Site, elsewhere: Postgres) -> Site:
    """The site with analytics on a server of its own."""
    url = elsewhere.url(elsewhere.create_database("analytics"))
    site = Site(migrated_copy.var, env=migrated_copy.env | {VARIABLES["analytics_db"]: url})
    site.manage("migrate_all", "--verbosity", "0")
    return site


@contextmanager
def relaying(site: Site) -> Iterator["subprocess.Popen[str]"]:
    process = site.start("relay_outbox")
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def locked(elsewhere: Postgres) -> Iterator[None]:
    """Analytics answers, and takes no event: what it feels like when it is slow."""
    with elsewhere.connect("analytics") as connection, connection.transaction():
        connection.execute("LOCK TABLE analytics_analyticsevent IN EXCLUSIVE MODE")
        yield


def views(postgres: Postgres, database: str) -> list[str]:
    """The pages that were seen, in the order in which they were."""
    return [path for (path,) in postgres.query(database, VIEWS)]


def visit(visitor: Visitor) -> list[Answer]:
    return [visitor.get(page) for _ in range(ROUNDS) for page in PAGES]


def seconds(answers: list[Answer]) -> float:
    return median(answer.seconds for answer in answers)


@pytest.mark.parametrize("how", ["dead", "hanging", "slow"])
def test_analytics_that_is_away_costs_no_page_anything_and_no_view_is_lost(
    divided: Site, elsewhere: Postgres, how: str
) -> None:
    with served(divided) as web, relaying(divided):
        visitor = Visitor(web)
        visit(visitor)
        before = visit(visitor)
        with locked(elsewhere) if how == "slow" else away(elsewhere, how):
            time.sleep(OUTAGE)
            during = visit(visitor)
        for name, answers in (("before", before), (how, during)):
            report(f"{figures(name, answers)}, median {seconds(answers) * 1000:.1f} ms")
        assert not failed(before + during)
        assert seconds(during) < 2 * seconds(before)
        wait_until(lambda: len(views(elsewhere, "analytics")) == 3 * ROUNDS * len(PAGES), within=60)
    assert views(elsewhere, "analytics") == PAGES * ROUNDS * 3


def test_web_process_that_is_killed_right_after_its_answer_has_lost_no_view(
    migrated_copy: Site, postgres: Postgres
) -> None:
    with served(migrated_copy) as web:
        answers = [answer for _ in range(KILLS) for answer in answered_then_killed(web)]
    assert not failed(answers)
    migrated_copy.manage("relay_outbox", "--once")
    assert views(postgres, database_name(migrated_copy, "analytics_db")) == [answer.path for answer in answers]


def answered_then_killed(web: Web) -> list[Answer]:
    """A few pages, and the worker's death in the moment in which the last of them has arrived."""
    (master,) = children(web.workshop.keeper.pid)
    (worker,) = children(master)
    answers = [Visitor(web).get(page) for page in PAGES]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in children(master) and Visitor(web).get("/healthz").status == 200, within=30)
    return answers


def test_view_is_among_the_figures_within_a_second(migrated_copy: Site) -> None:
    with served(migrated_copy) as web, relaying(migrated_copy):
        visitor = Visitor(web)
        wait_until(lambda: '">/analytics/</span>' in visitor.get("/analytics/").text, within=30)
        seen = visitor.get("/blog/")
        wait_until(lambda: '">/blog/</span>' in visitor.get("/analytics/").text, within=5)
        report(f"seen on /analytics/ after {time.monotonic() - seen.at - seen.seconds:.2f} s")


def wait_until(true: Callable[[], bool], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
