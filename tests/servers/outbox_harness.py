# ruff: noqa: T201 - what it prints is for whoever started it
"""Relays under load that are killed, ours and three naive ones, and what became of every message.

python -m tests.servers.outbox_harness RELAY KILLS SECONDS

on the databases that the environment names: writers publish on users_db, two relays bring it to analytics_db, and each
relay but the last two dies by SIGKILL at a step that it has been given. RELAY is "ours" or one of NAIVE. It runs until
there were KILLS deaths and SECONDS have passed, then has the rest delivered, and prints a verdict as JSON.

All of them are forks of one process that has Django loaded and no connection open, so that a death costs no second.
"""

import json
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import django
from django.core.management import call_command
from django.db import connections, transaction

from routers.health import renew_pool

SOURCE, DESTINATION = "users_db", "analytics_db"
TOPIC = "harness.said"
KEYS = [f"key {number}" for number in range(8)]
WRITERS, RELAYS, BATCH = 3, 2, 20
LONGEST = 60
STEPS = ("claimed", "effect done, not committed", "committed, not marked", "between batches")
NO_STEP = ""

Rows = list[tuple[Any, ...]]


def ask(alias: str, sql: str, *params: Any) -> Rows:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def prepare() -> None:
    """`turns` says in which order the transactions of a key come, whatever ids they were given."""
    ask(SOURCE, "CREATE TABLE turns (key text PRIMARY KEY, n int NOT NULL)")
    for key in KEYS:
        ask(SOURCE, "INSERT INTO turns VALUES (%s, 0)", key)
    ask(SOURCE, "CREATE TABLE written (token text PRIMARY KEY, key text NOT NULL, n int NOT NULL, at float NOT NULL)")
    serial = "bigserial" if connections[DESTINATION].vendor == "postgresql" else "integer"
    # Nothing in it keeps a token from coming twice.
    ask(DESTINATION, f"CREATE TABLE effects (seq {serial} PRIMARY KEY, token text NOT NULL)")


def take(payload: dict[str, str]) -> None:
    ask(DESTINATION, "INSERT INTO effects (token) VALUES (%s)", payload["token"])


def write() -> None:
    """One business transaction after the other, some of them slow to commit."""
    from apps.outbox.publishing import publish

    while True:
        key, token = random.choice(KEYS), str(uuid4())
        with transaction.atomic(using=SOURCE):
            publish(TOPIC, {"token": token}, key=key, using=SOURCE)
            time.sleep(random.random() * 0.005)
            ((n,),) = ask(SOURCE, "UPDATE turns SET n = n + 1 WHERE key = %s RETURNING n", key)
            ask(SOURCE, "INSERT INTO written VALUES (%s, %s, %s, %s)", token, key, n, time.time())
        time.sleep(0.004)


class Fate:
    """Ends this process when a step is reached for the nth time, and says what it had in hand then."""

    def __init__(self, step: str, log: Path) -> None:
        self.step, self.log, self.left = step, log, random.randint(1, 3)
        self.hand: list[str] = []

    def reached(self, step: str) -> None:
        if step != self.step:
            return
        self.left -= 1
        if not self.left:
            line = json.dumps({"step": step, "at": time.time(), "hand": self.hand})
            with self.log.open("a") as log:
                log.write(f"{line}\n")
            os.kill(os.getpid(), signal.SIGKILL)


def ours(fate: Fate) -> None:
    """The real command, whose lanes tell where they are."""
    from apps.outbox import relay
    from apps.outbox.models import Message

    class Observed(relay.Lane):
        def _next(self, *, locked: bool) -> list[Message]:
            if fate.hand:
                fate.hand = []
                fate.reached("between batches")
            found = super()._next(locked=locked)
            fate.hand = [str(message.uid) for message in found]
            if found:
                fate.reached("claimed")
            return found

        def _take_effect(self, messages: list[Message]) -> None:
            super()._take_effect(messages)
            fate.reached("effect done, not committed")

        def _mark(self) -> None:
            fate.reached("committed, not marked")
            super()._mark()

    relay.Lane = Observed  # type: ignore[misc]
    call_command("relay_outbox", "--database", SOURCE)


def _oldest(condition: str, *params: Any, lock: str = "") -> Rows:
    sql = f"SELECT id, payload->>'token' FROM outbox_message WHERE {condition} ORDER BY id LIMIT {BATCH} {lock}"
    return ask(SOURCE, sql, *params)


def _mark(rows: Rows) -> None:
    ask(SOURCE, "UPDATE outbox_message SET done_at = clock_timestamp() WHERE id = ANY(%s)", [row[0] for row in rows])


def _do(rows: Rows) -> None:
    with transaction.atomic(using=DESTINATION):
        for row in rows:
            take({"token": row[1]})


# These two lock what they have claimed, so that they have only their deaths to blame.
def mark_then_do(fate: Fate) -> None:
    while True:
        with transaction.atomic(using=SOURCE):
            rows = _oldest("done_at IS NULL", lock="FOR UPDATE SKIP LOCKED")
            _mark(rows)
        if rows:
            fate.reached("committed, not marked")
        _do(rows)
        time.sleep(0.01)


def do_then_mark(fate: Fate) -> None:
    while True:
        with transaction.atomic(using=SOURCE):
            rows = _oldest("done_at IS NULL", lock="FOR UPDATE SKIP LOCKED")
            _do(rows)
            if rows:
                fate.reached("committed, not marked")
            _mark(rows)
        time.sleep(0.01)


def last_seen(fate: Fate) -> None:
    last = 0
    while True:
        rows = _oldest("id > %s", last)
        _do(rows)
        last = rows[-1][0] if rows else last
        time.sleep(0.01)


NAIVE: dict[str, Callable[[Fate], None]] = {
    "mark_then_do": mark_then_do,
    "do_then_mark": do_then_mark,
    "last_seen": last_seen,
}


class Run:
    def __init__(self, relay: str, kills: int, seconds: float, folder: Path) -> None:
        self.relay, self.kills, self.seconds = relay, kills, seconds
        self.log = folder / "deaths"
        self.log.touch()
        self.work = {"ours": ours, **NAIVE}[relay]
        # The cursor of the third one is in its memory: it stays alive, and alone.
        self.relays = 1 if relay == "last_seen" else RELAYS
        self.steps = self._steps()

    def _steps(self) -> Iterator[str]:
        steps = STEPS if self.relay == "ours" else STEPS[2:3]
        for number in range(self.kills):
            yield steps[number % len(steps)]
        while True:
            yield NO_STEP

    def fork(self, work: Callable[[], None]) -> int:
        if pid := os.fork():
            return pid
        random.seed()
        try:
            work()
        except BaseException as error:  # it ends here, whatever it is
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)

    def start_relay(self) -> int:
        fate = Fate(next(self.steps), self.log)
        return self.fork(lambda: self.work(fate))

    def __call__(self) -> dict[str, Any]:
        began = time.monotonic()
        writers = [self.fork(write) for _ in range(WRITERS)]
        relays = {self.start_relay() for _ in range(self.relays)}
        print("running", flush=True)
        deaths = 0
        try:
            while deaths < self.kills or time.monotonic() - began < self.seconds:
                assert time.monotonic() - began < self.seconds + self.kills + LONGEST, "The relays do not die."
                if dead := self.ended(relays):
                    relays -= dead
                    relays |= {self.start_relay() for _ in dead}
                    deaths += len(dead)
                time.sleep(0.005)
            self.end(set(writers), signal.SIGKILL)
            drained = self.wait_until_drained()
            return self.verdict(deaths) | {"drained": drained, "statuses": self.end(relays, signal.SIGTERM)}
        finally:
            self.end({*writers, *relays}, signal.SIGKILL)

    def ended(self, processes: set[int]) -> set[int]:
        return {pid for pid in processes if os.waitpid(pid, os.WNOHANG)[0]}

    def end(self, processes: set[int], number: int) -> list[int]:
        statuses = []
        for pid in processes:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, number)
                statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return statuses

    def wait_until_drained(self) -> float:
        """Seconds; from here on nobody is forked, and this process may ask the databases."""
        began = time.monotonic()
        while time.monotonic() - began < (LONGEST if self.relay == "ours" else 2):
            if not ask(SOURCE, "SELECT count(*) FROM outbox_message WHERE done_at IS NULL")[0][0]:
                break
            time.sleep(0.1)
        return time.monotonic() - began

    def verdict(self, deaths: int) -> dict[str, Any]:
        written = {token: (key, n) for token, key, n in ask(SOURCE, "SELECT token, key, n FROM written")}
        effects = [token for (token,) in ask(DESTINATION, "SELECT token FROM effects ORDER BY seq")]
        return {
            "deaths": deaths,
            "written": len(written),
            "lost": len(written.keys() - set(effects)),
            "strange": len(set(effects) - written.keys()),
            "duplicates": len(effects) - len(set(effects)),
            "inversions": _inversions(written[token] for token in dict.fromkeys(effects) if token in written),
            "redelivered": self.redelivered(),
            "writes": [at for (at,) in ask(SOURCE, "SELECT at FROM written ORDER BY at")],
        }

    def redelivered(self) -> dict[str, float]:
        """For each step, the longest time in seconds until somebody else had, or had done, what a dead relay had in
        hand."""
        from apps.outbox.models import Message

        deaths = [json.loads(line) for line in self.log.read_text().splitlines()]
        done = Message.objects.using(SOURCE).values_list("uid", "done_at")
        later = defaultdict(list, {str(uid): [at.timestamp()] for uid, at in done if at})
        longest = dict.fromkeys([death["step"] for death in deaths], 0.0)
        for death in reversed(deaths):
            for uid in death["hand"]:
                longest[death["step"]] = max(longest[death["step"]], min(later[uid]) - death["at"])
                later[uid].append(death["at"])
        return longest


def _inversions(turns: Iterator[tuple[str, int]]) -> int:
    found, latest = 0, dict.fromkeys(KEYS, 0)
    for key, n in turns:
        found += n < latest[key]
        latest[key] = max(latest[key], n)
    return found


def main(relay: str, kills: str, seconds: str) -> None:
    django.setup()
    from apps.outbox.registry import declare_topic, handler

    handler(declare_topic(TOPIC), name="harness.take", destination=DESTINATION)(take)
    prepare()
    for connection in connections.all():
        connection.close()
        renew_pool(connection.alias)
    with TemporaryDirectory() as folder:
        print(json.dumps(Run(relay, int(kills), float(seconds), Path(folder))()))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.base")
    main(*sys.argv[1:])
