# ruff: noqa: T201 - it prints what it measures
"""What a page view costs its page: by way of the local outbox, beside an INSERT into the analytics database.

python -m bench.events     needs PostgreSQL on this machine, as tests/servers does

Each figure has what a request does around it, too: it takes a connection, and lets go of it. That to SQLite is a new
one for each page, as Django's default would have it, or is kept, as config/settings/databases.py has it. The cases take
turns, view by view, so that whatever else the machine does falls on both of them. The server is next door and does not
wait for its disk (fsync=off), which makes the direct INSERT as cheap as it can be.
"""

import json

from bench.sites import site_on_postgres
from tests.project.conftest import Site

THREADS, VIEWS = (1, 8), 800
# Seconds that a page takes besides. Threads that did nothing else would show what SQLite does to a queue of writers.
PAGE = 0.01
CODE = """
import json, time
from itertools import chain
from statistics import median, quantiles
from concurrent.futures import ThreadPoolExecutor
from django.db import close_old_connections, connections
from apps.analytics import services
from apps.analytics.models import AnalyticsEvent

FIELDS = {"event_type": "page_view", "user_id": 1, "session_id": "0" * 32, "data": {"path": "/blog/a-page/"}}

def outbox():
    assert services.record_event(**FIELDS)

def direct():
    AnalyticsEvent.objects.create(**FIELDS)

CASES = {"INSERT into analytics": direct, "local outbox": outbox}

def microseconds(case):
    started = time.perf_counter()
    case()
    close_old_connections()  # as at the end of a request
    return (time.perf_counter() - started) * 1e6

def views(number):
    return [[microseconds(case) for case in CASES.values() if not time.sleep(PAGE)] for _ in range(number)]

def measure(threads):
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(views, [50] * threads))
        pairs = list(chain.from_iterable(pool.map(views, [VIEWS // threads] * threads)))
    return {name: [median(each), quantiles(each, n=100)[-1]] for name, each in zip(CASES, zip(*pairs))}

figures = {}
for kept, max_age in (("new", 0), ("kept", 60)):
    # Each thread makes its connections of these.
    connections.settings["cache_db"]["CONN_MAX_AGE"] = max_age
    for threads in THREADS:
        figures[f"{threads}, {kept}"] = measure(threads)
print(json.dumps(figures))
"""

Figures = dict[str, dict[str, tuple[float, float]]]


def measure(site: Site) -> Figures:
    code = f"THREADS = {THREADS}\nVIEWS = {VIEWS}\nPAGE = {PAGE}\n{CODE}"
    said = site.manage("shell", "--no-imports", "--command", code)
    found: Figures = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found


def report(figures: Figures) -> None:
    print(f"{'threads, SQLite connection':<32}{'case':<24}{'median':>11}{'ratio':>7}{'99 %':>13}{'ratio':>7}")
    for conditions, cases in figures.items():
        beside = cases["INSERT into analytics"]
        for case, found in cases.items():
            row = "".join(f"{value:>8.0f} µs{value / base:>7.2f}" for value, base in zip(found, beside, strict=True))
            print(f"{conditions:<32}{case:<24}{row}")


def main() -> None:
    with site_on_postgres() as site:
        figures = measure(site)
    report(figures)


if __name__ == "__main__":
    main()
