# ruff: noqa: T201 - it prints what it measures
"""What a page costs while a database that it can do without is down or hangs, against the same page when all is well.

python -m bench.breaker     needs PostgreSQL and MariaDB or MySQL on this machine, as tests/servers does

Analytics and cache are on a server of their own, the old system on a third. The cases take turns, round by round, so
that whatever else the machine does falls on all of them; each figure is the median of all rounds.
"""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.project.conftest import Site
from tests.servers.processes import MySQL, Postgres

ROUNDS, REPEATS = 6, 60
CODE = """
import json, os, signal, time
from pathlib import Path
from statistics import median
from django.test import Client
from apps.blog.models import Post
from routers.health import is_down, snapshot

def family(pid):
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

def wait(true):
    while not true():
        time.sleep(0.02)

def milliseconds(page):
    started = time.perf_counter()
    assert client.get(page).status_code == 200
    return (time.perf_counter() - started) * 1000

client = Client(headers={"host": "localhost"})
pages = ["/", "/blog/", Post.objects.order_by("pk").first().get_absolute_url()]
cases = {"all is well": None, "analytics and cache hang": EXTRA, "legacy hangs": LEGACY}
aliases = {None: [], EXTRA: ["analytics_db", "cache_db"], LEGACY: ["legacy_db"]}
taken = {case: {page: [] for page in pages} for case in cases}
first = {case: {page: [] for page in pages} for case in cases}
snapshot(timeout=5)
for page in pages * 20:
    client.get(page)
for _ in range(ROUNDS):
    for case, pid in cases.items():
        stopped = family(pid) if pid else []
        for each in stopped:
            os.kill(each, signal.SIGSTOP)
        try:
            for page in pages:
                first[case][page].append(milliseconds(page))
            wait(lambda: all(map(is_down, aliases[pid])))
            for page in pages * REPEATS:
                taken[case][page].append(milliseconds(page))
        finally:
            for each in stopped:
                os.kill(each, signal.SIGCONT)
        wait(lambda: not any(map(is_down, aliases[pid])))
        for page in pages:
            client.get(page)
print(json.dumps([[case, page, median(taken[case][page]), max(first[case][page])] for case in cases for page in pages]))
"""


@dataclass
class Figure:
    case: str
    page: str
    median: float
    worst_first: float


def measure(site: Site, extra: Postgres, legacy: MySQL) -> list[Figure]:
    names = {"EXTRA": extra.primary.pid, "LEGACY": legacy.server.pid, "ROUNDS": ROUNDS, "REPEATS": REPEATS}
    code = "\n".join(f"{name} = {value}" for name, value in names.items()) + CODE
    said = site.manage("shell", "--no-imports", "--command", code)
    return [Figure(*each) for each in json.loads(next(line for line in said.splitlines() if line.startswith("[[")))]


def report(figures: list[Figure]) -> None:
    healthy = {figure.page: figure.median for figure in figures[: len(figures) // 3]}
    print(f"{'case':<26}{'page':<44}{'median':>10}{'ratio':>8}{'slowest before the breaker opened':>36}")
    for each in figures:
        ratio = each.median / healthy[each.page]
        print(f"{each.case:<26}{each.page:<44}{each.median:>7.2f} ms{ratio:>8.2f}{each.worst_first:>33.0f} ms")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers: list[Any] = []
        for kind in (partial(Postgres, standbys=0), partial(Postgres, standbys=0), MySQL):
            servers.append(kind())
            stack.callback(servers[-1].end)
        blog, extra, legacy = servers
        site = Site(Path(folder) / "var")
        places = {"DATABASE_URL": blog, "USERS_DATABASE_URL": blog}
        places |= {"ANALYTICS_DATABASE_URL": extra, "CACHE_DATABASE_URL": extra}
        site.env |= {name: server.url(server.create_database(name.lower())) for name, server in places.items()}
        site.env["LEGACY_DATABASE_URL"] = legacy.url()
        site.manage("migrate_all", "--verbosity", "0")
        site.manage("seed_demo", "--events=2000", "--verbosity", "0")
        report(measure(site, extra, legacy))


if __name__ == "__main__":
    main()
