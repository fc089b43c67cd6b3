# ruff: noqa: T201 - what it prints is for whoever started it
"""Visitors who read and write over HTTP while replicas fall behind, and a check of each answer: does everybody see what
they wrote, and does nobody see time go backwards?

    python -m tests.servers.consistency --reads 100000

visits consistency_site.py on a primary and two standbys, with the project's own router and with each of the controls.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from threading import Event, Thread

from tests.browser.conftest import free_port
from tests.project.conftest import Site
from tests.servers.consistency_site import OURS, VARIABLE, VARIANTS
from tests.servers.processes import Missing, Postgres, PostgresWithRoles, Server, password_of

VISITORS, WEB_PROCESSES, THREADS = 32, 2, 16
WRITES = 0.07  # of a visitor's requests
REPLICAS = ("users_replica_1", "users_replica_2")
APPLICATION = "tests.servers.consistency_site:application()"
STARTS_WITHIN, ENDS_WITHIN = 60, 20
PATIENCE = 0.2  # seconds after an error page


@dataclass
class Figures:
    """What the visitors of one variant met with. `own` are reads that missed a write of the visitor's own, `backwards`
    those that showed less than the visitor had seen before."""

    reads: int = 0
    writes: int = 0
    own: int = 0
    backwards: int = 0
    from_replicas: int = 0
    seconds: float = 0
    refused: list[str] = field(default_factory=list)

    def add(self, other: "Figures") -> None:
        for name in ("reads", "writes", "own", "backwards", "from_replicas", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def violations(self) -> int:
        return self.own + self.backwards

    def __str__(self) -> str:
        return (
            f"{self.reads:7} reads {self.writes:6} writes {self.own:6} own write missed {self.backwards:6} backwards "
            f"{self.from_replicas / max(self.reads, 1):6.1%} from replicas {len(self.refused):4} refused "
            f"{self.seconds:6.1f} s"
        )


class Jar:
    """A browser's cookies, as far as they matter here."""

    def __init__(self) -> None:
        self.cookies: dict[str, tuple[str, float]] = {}

    def keep(self, response: HTTPResponse) -> None:
        for header in response.headers.get_all("Set-Cookie", []):
            pair, *attributes = header.split("; ")
            name, _, value = pair.partition("=")
            ages = [float(each.partition("=")[2]) for each in attributes if each.startswith("Max-Age=")]
            self.cookies[name] = value, time.monotonic() + min(ages, default=float("inf"))

    def header(self) -> str:
        now = time.monotonic()
        self.cookies = {name: cookie for name, cookie in self.cookies.items() if cookie[1] > now}
        return "; ".join(f"{name}={value}" for name, (value, _) in self.cookies.items())


class Visitor(Thread):
    """Reads, and now and then writes, at any of the ports, without a pause."""

    def __init__(self, number: int, *, ports: list[int], reads: int, seed: int) -> None:
        super().__init__(name=f"visitor-{number}", daemon=True)
        self.ports, self.left, self.random = ports, reads, random.Random(f"{seed} {number}")
        self.figures, self.jar = Figures(), Jar()
        self.connections: dict[int, HTTPConnection] = {}
        self.tried = self.acknowledged = 0
        self.seen: dict[str, int] = {}

    def run(self) -> None:
        while self.left:
            if self.random.random() < WRITES:
                self.write()
            else:
                self.left -= 1
                self.read()
        for connection in self.connections.values():
            connection.close()

    def write(self) -> None:
        self.tried += 1
        if self.ask("POST", f"/{self.name}/{self.tried}/") is not None:
            self.figures.writes += 1
            self.acknowledged = self.tried

    def read(self) -> None:
        body = self.ask("GET", f"/{self.name}/")
        if body is None:
            return
        page = json.loads(body)
        self.figures.reads += 1
        self.figures.from_replicas += page["alias"] in REPLICAS
        # In the order in which the page queried them.
        shown = [{self.name: page["own"]}, page["all"]]
        self.figures.own += any(counters[self.name] < self.acknowledged for counters in shown)
        self.figures.backwards += max(map(self.goes_back, shown))

    def goes_back(self, counters: dict[str, int]) -> bool:
        before = self.seen
        self.seen = before | {name: max(value, before.get(name, 0)) for name, value in counters.items()}
        return any(value < before.get(name, 0) for name, value in counters.items())

    def ask(self, method: str, url: str) -> bytes | None:
        port = self.random.choice(self.ports)
        connection = self.connections.setdefault(port, HTTPConnection("127.0.0.1", port, timeout=30))
        try:
            connection.request(method, url, headers={"Cookie": self.jar.header()})
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            self.give_up(f"{method}: {error!r}")
            return None
        self.jar.keep(response)
        if response.status != 200:
            self.give_up(f"{method}: {response.status}")
            return None
        return body

    def give_up(self, why: str) -> None:
        self.figures.refused.append(why)
        time.sleep(PATIENCE)


def make_site(postgres: PostgresWithRoles, folder: Path) -> Site:
    """A site with its tables, whose users are on the primary and the standbys, and all else on SQLite."""
    env = {
        "USERS_DATABASE_URL": postgres.primary.url("users", "users_app"),
        "USERS_DATABASE_OWNER_URL": postgres.primary.url("users", "users_owner"),
        "USERS_REPLICA_URLS": " ".join(standby.url("users", "users_reader") for standby in postgres.standbys),
        "DATABASE_PROBE_USER": "probe",
        "DATABASE_PROBE_PASSWORD": password_of("probe"),
    }
    site = Site(folder / "var", env=env)
    site.manage("migrate_all", "--verbosity", "0")
    return site


def visit(postgres: Postgres, site: Site, variant: str, *, reads: int, seed: int = 1) -> Figures:
    """Have every visitor visit a variant of the site while the replicas fall behind and catch up."""
    _reset(postgres)
    figures = Figures()
    with _served(site, variant) as ports, _troubled(postgres, seed):
        started = time.monotonic()
        visitors = [Visitor(number, ports=ports, reads=reads // VISITORS, seed=seed) for number in range(VISITORS)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
            figures.add(visitor.figures)
        figures.seconds = time.monotonic() - started
    return figures


def _reset(postgres: Postgres) -> None:
    rows = ", ".join(f"('visitor-{number}', '0', now())" for number in range(VISITORS))
    sql = f"TRUNCATE django_session; INSERT INTO django_session (session_key, session_data, expire_date) VALUES {rows}"
    postgres.query("users", sql, admin=True)
    postgres.catch_up()


@contextmanager
def _served(site: Site, variant: str) -> Iterator[list[int]]:
    ports = [free_port() for _ in range(WEB_PROCESSES)]
    processes = [_start(site, variant, port) for port in ports]
    try:
        for port in ports:
            _wait_for(port)
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(ENDS_WITHIN)


def _start(site: Site, variant: str, port: int) -> "subprocess.Popen[bytes]":
    options = ["--worker-class", "gthread", "--threads", str(THREADS), "--keep-alive", "60"]
    quietly = ["--log-level", "warning", "--graceful-timeout", "2"]
    of_variant = {
        "DJANGO_SETTINGS_MODULE": "config.settings.base",
        VARIABLE: variant,
        "DATABASE_POOL_SIZE": str(THREADS),
        "LOG_LEVEL": "ERROR",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, *quietly, APPLICATION],
        cwd=site.root,
        env=site.environment() | of_variant,
        stdin=subprocess.DEVNULL,
    )


def _wait_for(port: int) -> None:
    """Until it listens. The first visitors come to a process that has not looked at any database yet."""
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def _troubled(postgres: Postgres, seed: int) -> Iterator[None]:
    """Each standby for itself stops replaying, or delays it, and goes on, at random."""
    ended = Event()
    threads = [
        Thread(target=_trouble, args=(postgres, standby, ended, random.Random(f"{seed} standby {number}")))
        for number, standby in enumerate(postgres.standbys)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _trouble(postgres: Postgres, standby: Server, ended: Event, dice: random.Random) -> None:
    with postgres.connect("postgres", user="postgres", on=standby) as connection:
        while not ended.is_set():
            delay = dice.choice([0, 0, dice.randint(1, 2000)])
            connection.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = {delay}")
            connection.execute("SELECT pg_reload_conf()")
            ended.wait(dice.uniform(0, 1))
            connection.execute("SELECT pg_wal_replay_pause()")
            ended.wait(dice.uniform(0, 2))
            connection.execute("SELECT pg_wal_replay_resume()")
            ended.wait(dice.uniform(0, 1))
        connection.execute("ALTER SYSTEM RESET recovery_min_apply_delay")
        connection.execute("SELECT pg_reload_conf()")


def main() -> int:
    """Returns 0 when the project's own router kept every promise and no control did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=100_000, help="with the project's own router")
    parser.add_argument("--control-reads", type=int, default=10_000, help="with each of the controls")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()

    print(f"--seed {options.seed}", flush=True)
    as_expected = True
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        postgres = PostgresWithRoles(standbys=len(REPLICAS))
        stack.callback(postgres.end)
        site = make_site(postgres, Path(folder))
        for variant in options.variants:
            reads = options.reads if variant == OURS else options.control_reads
            figures = visit(postgres, site, variant, reads=reads, seed=options.seed)
            print(f"{variant:24}{figures}", *figures.refused[:3], sep="\n  ", flush=True)
            as_expected &= (figures.violations == 0) == (variant == OURS)
    return 0 if as_expected else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as missing:
        sys.exit(str(missing))
