# ruff: noqa: S311, S603, S608, T201 - visitors are random, the arguments and the SQL are ours, and it prints
"""What reads on replicas cost, and what they save, beside what one would take instead.

python -m bench.routing     needs PostgreSQL on this machine, as tests/servers does

- a read decision, beside no router at all, other routers, and the one of django-multidb-router;
- the share of reads that replicas serve to visitors who write now and then, beside pins to the primary after a write;
- a page over six databases, beside the same queries on one.

What is compared takes turns, or runs at the same time on the same servers, so that whatever else the machine does falls
on all of it.
"""

import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from threading import Event, Thread
from timeit import timeit
from typing import Any

import django
from django.conf import settings
from django.db import connections
from django.db.utils import ConnectionRouter
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, RequestFactory
from django.urls import path

from routers.health import snapshot
from routers.state import RoutingState, _state, routing_state
from tests.project.conftest import Site
from tests.servers.processes import Postgres, Server

OURS, PINNING = "ours, further reads", "multidb.PinningReplicaRouter"
ROUNDS, CALLS, STATES = 300, 1000, 100

# Seconds between two requests of a visitor, and how much faster time goes here for the visitors, the pins, the patience
# with replicas and the delays that are made; not for what the servers do by themselves, nor for the prober.
THINK, FASTER = (1, 3), 5
VISITORS, REQUESTS, WRITES = 8, 150, 0.05
PINS = {"ours": 0, "15-second pin": 15, "2-second pin": 2}
LAGS = {"replicas as they are": 0, "replicas delayed by up to 3 s": 3}

REQUESTED, WARMING_UP = 600, 20
SQL = (
    "SELECT * FROM blog_post ORDER BY id DESC LIMIT 5",
    "SELECT * FROM blog_tag ORDER BY name",
    "SELECT count(*) FROM blog_comment",
)
PAGE = """{% extends "base.html" %}{% block main %}{% for posts, tags, comments in each %}
<h2>{{ comments }} comments</h2>
<ul>{% for post in posts %}<li>{{ post.title }}</li>{% endfor %}</ul><p>{{ tags|join:", " }}</p>
{% endfor %}{% endblock %}"""


class Dictionary:
    """The least that a router for several databases can do."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return {"blog": "default", "users": "users_db"}.get(model._meta.app_label)


def decisions() -> None:
    """The time of this thread on the processor, for routers that are asked as Django asks them."""
    snapshot(timeout=5)
    taken: dict[str, list[float]] = defaultdict(list)
    chains = compared()
    for _ in range(ROUNDS):
        for name, chain in chains.items():
            for row, seconds in ask(name, ConnectionRouter(chain)):
                taken[row].append(seconds * 1e9)
    beside = PINNING if PINNING in chains else "no router"
    print(f"{'read decision':<34}{'median':>10}{'ratio to ' + beside:>40}")
    for row, each in taken.items():
        print(f"{row:<34}{median(each):>7.0f} ns{median(each) / median(taken[beside]):>40.2f}")


def compared() -> dict[str, list[Any]]:
    chains: dict[str, list[Any]] = {"no router": [], "a dictionary": [Dictionary()]}
    chains["our central router"] = settings.DATABASE_ROUTERS[-1:]
    if find_spec("multidb"):
        settings.REPLICA_DATABASES = [alias for alias in settings.DATABASES if alias.startswith("read_replica")]
        import_module("multidb.pinning").unpin_this_thread()  # as its middleware does
        chains[PINNING] = [PINNING]
    else:
        print(f"{PINNING} is left out: pip install django-multidb-router into {sys.prefix}, and run this again.")
    return chains | {OURS: settings.DATABASE_ROUTERS}


def ask(name: str, chain: ConnectionRouter) -> Iterator[tuple[str, float]]:
    """The seconds of one decision; of ours, also of the first two of a request."""
    from apps.blog.models import Post

    decide = partial(chain.db_for_read, Post)
    states = [RoutingState(is_request=True) for _ in range(STATES)]
    for nth in ("first", "second") if name == OURS else ():
        yield f"ours, {nth} read of a request", timeit(partial(in_each, states, decide), number=1, **CLOCK) / STATES
    with routing_state(is_request=True):
        for _ in range(3):
            decide()
        yield name, timeit(decide, number=CALLS, **CLOCK) / CALLS


CLOCK: dict[str, Any] = {"timer": time.thread_time}


def in_each(states: list[RoutingState], decide: Callable[[], Any]) -> None:
    for state in states:
        _state.set(state)
        decide()


def visits(variant: str) -> None:
    """The visitors of one variant, all at once."""
    from tests.servers import consistency_site

    logging.disable(logging.ERROR)  # a read that is tried again on another server is no news here
    vars(consistency_site)["PIN_SECONDS"] = PINS[variant] / FASTER
    consistency_site.VARIANTS["2-second pin" if PINS[variant] else "ours"]()
    settings.ROOT_URLCONF = consistency_site.__name__
    settings.REPLICA_WAIT_MS = 50 / FASTER
    first = list(PINS).index(variant) * VISITORS
    visitors = [Visitor(number) for number in range(first, first + VISITORS)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    met = sum((visitor.met for visitor in visitors), Counter())
    share = met["from replicas"] / max(met["reads"], 1)
    print(f"{variant:<34}{met['reads']:>8}{met['writes']:>8}{share:>10.1%}{met['stale']:>8}{met['refused']:>9}")


class Visitor(Thread):
    """Reads, and now and then writes, as somebody does who looks at each page for a while."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"visitor-{number}")
        self.client = Client(raise_request_exception=False)
        self.met, self.seen = Counter[str](), Counter[str]()
        self.tried = self.acknowledged = 0

    def run(self) -> None:
        for _ in range(REQUESTS):
            time.sleep(random.uniform(*THINK) / FASTER)
            if random.random() < WRITES:
                self.write()
            else:
                self.read()
            connections.close_all()  # back to the pool, which the test client does not do

    def write(self) -> None:
        self.tried += 1
        if self.ask("POST", f"/{self.name}/{self.tried}/"):
            self.met["writes"] += 1
            self.acknowledged = self.tried

    def read(self) -> None:
        if (response := self.ask("GET", f"/{self.name}/")) is None:
            return
        page = response.json()
        shown = Counter(page["all"])
        missed = min(page["own"], shown[self.name]) < self.acknowledged
        self.met += {"reads": 1, "from replicas": int("replica" in page["alias"])}
        self.met["stale"] += missed or any(shown[name] < value for name, value in self.seen.items())
        self.seen |= shown

    def ask(self, method: str, url: str) -> Any:
        for name in [name for name, cookie in self.client.cookies.items() if not cookie.value]:
            del self.client.cookies[name]  # as a browser does
        response = self.client.generic(method, url)
        if response.status_code == 200:
            return response
        self.met["refused"] += 1
        return None


@contextmanager
def delayed(postgres: Postgres, seconds: float) -> Iterator[None]:
    """Each standby for itself replays commits later, by up to so many seconds of the visitors' time."""
    ended = Event()
    threads = [Thread(target=delay, args=[postgres, standby, seconds, ended]) for standby in postgres.standbys]
    for thread in threads if seconds else []:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads if seconds else []:
            thread.join()


def delay(postgres: Postgres, standby: Server, seconds: float, ended: Event) -> None:
    with postgres.connect("postgres", user="postgres", on=standby) as connection:
        while not ended.wait(2 / FASTER):
            milliseconds = random.randint(0, int(seconds * 1000 / FASTER))
            connection.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = {milliseconds}")
            connection.execute("SELECT pg_reload_conf()")
        connection.execute("ALTER SYSTEM RESET recovery_min_apply_delay")
        connection.execute("SELECT pg_reload_conf()")


def pages() -> None:
    """The whole way of a request through the site, with connections taken from the pool and given back; and the same
    SQL past Django, over connections that stay open, for what the servers themselves take longer on six.

    The one is the first of the six, a primary with replicas, so that the promise to a visitor costs both the same.
    """
    snapshot(timeout=5)
    six = [alias for alias, config in settings.DATABASES.items() if config]
    lists = {"one": six[:1] * len(six), "six": six}
    get, drivers = partial(request, site_with(lists)), {alias: driver(alias) for alias in six}
    calls = {f"the site, on {name}": partial(get, name) for name in lists}
    calls |= {f"SQL alone, on {name}": partial(bare, [drivers[alias] for alias in lists[name]]) for name in lists}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(WARMING_UP + REQUESTED):
        for name in random.sample(list(calls), len(calls)):
            both = timed(calls[name])
            if number >= WARMING_UP:
                taken[name].append(both)
    medians = {name: [median(each) for each in zip(*both, strict=True)] for name, both in taken.items()}
    print(f"{'page of 18 queries':<34}{'median':>10}{'six to one':>12}{'of which Python':>18}{'six to one':>12}")
    for name, (wall, python) in medians.items():
        on_one = medians[name.replace("six", "one")]
        print(f"{name:<34}{wall:>7.2f} ms{wall / on_one[0]:>12.2f}{python:>15.2f} ms{python / on_one[1]:>12.2f}")


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """The milliseconds that it took, and those of them that this thread had on the processor."""
    started, at_work = time.perf_counter(), time.thread_time()
    call()
    return (time.perf_counter() - started) * 1000, (time.thread_time() - at_work) * 1000


def driver(alias: str) -> Any:
    """A connection of its own past Django's pool."""
    wrapper = connections[alias].copy()
    wrapper.settings_dict["OPTIONS"].pop("pool", None)
    wrapper.settings_dict.pop("TIMEOUT", None)
    wrapper.connect()
    return wrapper.connection


def bare(drivers: list[Any]) -> None:
    for each in drivers:
        for sql in SQL:
            each.execute(sql).fetchall()


def site_with(pages: dict[str, list[str]]) -> Any:
    """The site as a WSGI application, with a page for each list of aliases, whose queries go to all of them."""
    from config import urls

    class Urls:
        urlpatterns = [*urls.urlpatterns, *(path(f"{name}/", page, {"aliases": pages[name]}) for name in pages)]

    settings.ROOT_URLCONF = Urls
    settings.DEMO = False  # a site that shows how it works does more than most
    return import_module("config.wsgi").application


def page(request: HttpRequest, aliases: list[str]) -> HttpResponse:
    each = [contents(alias) for alias in aliases]
    return HttpResponse(engines["django"].from_string(PAGE).render({"each": each}, request))


def contents(alias: str) -> tuple[list[Any], list[Any], int]:
    from apps.blog.models import Comment, Post, Tag

    latest = list(Post.objects.using(alias).order_by("-pk")[:5])
    return latest, list(Tag.objects.using(alias)), Comment.objects.using(alias).count()


def request(application: Any, name: str) -> None:
    """Raises RuntimeError when the page cannot be had."""
    environ, statuses = RequestFactory(headers={"host": "localhost"}).get(f"/{name}/").environ, list[str]()
    response = application(environ, lambda status, headers: statuses.append(status))
    list(response)
    response.close()
    if statuses != ["200 OK"]:
        raise RuntimeError(f"/{name}/ was answered with {statuses}")


def run(site: Site, *part: str) -> "subprocess.Popen[str]":
    """Start a part in a process of its own, whose settings are those of the site."""
    env = site.environment() | {"DJANGO_SETTINGS_MODULE": "config.settings.base", "LOG_LEVEL": "CRITICAL"}
    command = [sys.executable, "-m", "bench.routing", *part]
    return subprocess.Popen(command, cwd=site.root, env=env, text=True, stdout=subprocess.PIPE)


def show(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        print(process.communicate()[0], end="", flush=True)
    if any(process.returncode for process in processes):
        raise SystemExit("It could not be measured; the reason is above.")


def compare_visits(postgres: Postgres, site: Site) -> None:
    rows = ", ".join(f"('visitor-{number}', '0', now())" for number in range(VISITORS * len(PINS)))
    sql = f"TRUNCATE django_session; INSERT INTO django_session (session_key, session_data, expire_date) VALUES {rows}"
    for lag, seconds in LAGS.items():
        postgres.query("users", sql)
        postgres.catch_up()
        columns = f"{'reads':>8}{'writes':>8}{'replicas':>10}{'stale':>8}{'refused':>9}"
        print(f"\n{lag:<34}{columns}   (in {FASTER} times less time)", flush=True)
        with delayed(postgres, seconds):
            show(*[run(site, "visits", variant) for variant in PINS])


def site_on(postgres: Postgres, folder: str) -> Site:
    """A site with the demo's content, and two replicas for each cluster that may have some."""
    site = Site(Path(folder, "var"), env={"DATABASE_POOL_SIZE": "4"})
    for variable, name in {"DATABASE": "blog", "USERS_DATABASE": "users", "ANALYTICS_DATABASE": "analytics"}.items():
        site.env[f"{variable}_URL"] = postgres.url(postgres.create_database(name))
    for variable, name in {"READ": "blog", "USERS": "users"}.items():
        site.env[f"{variable}_REPLICA_URLS"] = " ".join(standby.url(name) for standby in postgres.standbys)
    site.manage("migrate_all", "--verbosity", "0")
    site.manage("load_legacy")
    site.manage("seed_demo", "--events=100", "--verbosity", "0")
    postgres.catch_up()
    return site


def site_on_copies(postgres: Postgres, like: Site) -> Site:
    """One whose six databases all hold what the blog's holds: it, a replica of it, and four copies."""
    env = {"DATABASE_URL": like.env["DATABASE_URL"], "READ_REPLICA_URLS": postgres.standbys[0].url("blog")}
    for name in ("users", "analytics", "legacy", "cache"):
        env[f"{name.upper()}_DATABASE_URL"] = postgres.url(postgres.create_database(f"{name}_copy", like="blog"))
    return Site(like.var, env=env)


def main() -> None:
    postgres = Postgres(standbys=2)
    try:
        with tempfile.TemporaryDirectory() as folder:
            site = site_on(postgres, folder)
            show(run(site, "decisions"))
            compare_visits(postgres, site)
            print()
            show(run(site_on_copies(postgres, site), "pages"))
    finally:
        postgres.end()


if __name__ == "__main__":
    if part := sys.argv[1:]:
        django.setup()
        globals()[part[0]](*part[1:])
    else:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
        main()
