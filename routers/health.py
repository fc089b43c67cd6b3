"""Which databases answer: a prober looks at each of them every second, and a breaker refuses those that are down.

One thread per alias, in every process that serves requests, keeps a connection of its own past Django's pools, so no
visitor ever has to find out. Nobody waits for these threads either: a look that has been under way for too long counts
as "down" for whoever asks, even while its thread still hangs. Without a recent look nothing is known, and nothing is
refused.
"""

import atexit
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import OperationalError, connections

from routers.topology import topology

if TYPE_CHECKING:
    from routers.probing import Probe

UP, DOWN, UNKNOWN = "up", "down", "unknown"
PRIMARY, REPLICA = "primary", "replica"
# Seconds within which a database that is well has answered. It is given them twice, the second time over a new
# connection, so that one late answer or a connection that was cut on the way does no harm; but once when a visitor has
# been waiting, too. A connection that is refused needs no waiting.
PROBE_DEADLINE = 0.5
LOOKS_WHILE_DOWN = 4  # in an interval
# After so many intervals without a look, the thread that should have looked is gone.
STALE_INTERVALS = 5
STOP_SECONDS = 0.3

log = logging.getLogger(__name__)


class DatabaseUnavailable(OperationalError):
    """The breaker of a database is open, so nothing was sent to it."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a database was at the last look.

    `role` is what the server says it is, None where its engine does not know. `latency_ms` is that of one short query.
    PostgreSQL also tells its `timeline` and positions in its log (an LSN, as a number of bytes): a primary `flushed`,
    a replica `received` and `replayed`. `is_streaming` says whether the replica's WAL receiver is at work, None where
    the account may not see that; the lag is None while it cannot be told. `error` says why it is down.
    """

    alias: str
    state: str = UNKNOWN
    role: str | None = None
    latency_ms: float | None = None
    timeline: int | None = None
    flushed: int | None = None
    received: int | None = None
    replayed: int | None = None
    is_streaming: bool | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    error: str = ""
    since: datetime | None = None
    checked_at: datetime | None = None


def is_down(alias: str) -> bool:
    """Whether the breaker of the alias is open."""
    watch = prober.watches.get(alias)
    # A first look that takes its time says nothing yet: this process may just be starting.
    return watch is not None and watch.seen.state != UNKNOWN and watch.state == DOWN


def refuse_if_down(alias: str) -> None:
    """Raises DatabaseUnavailable while the breaker of the alias is open. Costs a look into a dictionary otherwise."""
    if is_down(alias) and (found := health(alias)).state == DOWN:
        raise DatabaseUnavailable(
            f"{alias} has been down since {found.since:%Y-%m-%d %H:%M:%S} UTC ({found.error}), so nothing was sent to "
            "it. It is asked again every second, and used again as soon as it answers."
        )


def suspect(alias: str) -> None:
    """Have the prober look at the alias now: a connection was lost, or has been waiting for too long."""
    if watch := prober.watches.get(alias):
        watch.suspect()


def health(alias: str) -> Health:
    """What the running prober knows of the alias; state UNKNOWN when there is none, or not yet."""
    watch = prober.watches.get(alias)
    return watch.health() if watch else Health(alias=alias)


def snapshot(*, timeout: float = PROBE_DEADLINE) -> dict[str, Health]:
    """How each alias is, in the order of the topology, after at most `timeout` seconds, which only the first one takes.

    Starts the prober. Where settings.DATABASE_PROBER is off, each alias is looked at once, here and now.
    """
    prober.ensure_started()
    watches = prober.watches or _started(once=True)
    _wait_for(watches, timeout)
    return {alias: watch.health() for alias, watch in watches.items()}


def wait_for_first_look(*, timeout: float = PROBE_DEADLINE) -> None:
    """Start the prober, where it may run, and wait until it knows something of each alias, or for `timeout` seconds."""
    prober.ensure_started()
    _wait_for(prober.watches, timeout)


def _wait_for(watches: dict[str, "Watch"], timeout: float) -> None:
    until = time.monotonic() + timeout
    for watch in watches.values():
        watch.wait(until)


class Watch:
    """Looks at one database. What it has seen is replaced as a whole, so that other threads read it without a lock."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.seen = Health(alias=alias, error="no answer yet")
        self.interval: float = getattr(settings, "DATABASE_PROBE_SECONDS", 1.0)
        self._began_at = datetime.now(tz=UTC)
        # None when no look is under way. A look begins when its thread is told to start, not when it gets to.
        self._began: float | None = time.monotonic()
        self._ended = self._began
        self._suspected = self._stopped = False
        self._wake, self._answered = Event(), Event()
        self._probe: Probe | None = None

    def start(self, *, once: bool) -> None:
        self._stopped = once
        self.thread = Thread(target=self._run, name=f"health-{self.alias}", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Have the thread close its connection and end, as soon as it can."""
        self._stopped = True
        self._wake.set()

    def suspect(self) -> None:
        self._suspected = True
        self._wake.set()

    @property
    def state(self) -> str:
        return self._judge(self.seen)

    def _judge(self, seen: Health) -> str:
        """What was seen, unless the look under way takes too long, or there was none lately."""
        now, began = time.monotonic(), self._began
        if began is None:
            return seen.state if now - self._ended < STALE_INTERVALS * self.interval else UNKNOWN
        return DOWN if now - began > self._patience else seen.state

    @property
    def _patience(self) -> float:
        return PROBE_DEADLINE if self._suspected else 2 * PROBE_DEADLINE

    def health(self) -> Health:
        seen, began_at = self.seen, self._began_at
        state = self._judge(seen)
        if state == seen.state:
            return seen
        if state == UNKNOWN:
            return Health(alias=self.alias, error="nobody has looked lately", since=seen.checked_at)
        return _down(seen, f"no answer since {began_at:%H:%M:%S} UTC", began_at)

    def wait(self, until: float) -> None:
        """Wait for the first answer, or until it is overdue; at most to that moment of time.monotonic()."""
        if began := self._began:
            until = min(until, began + self._patience + 0.01)
        self._answered.wait(max(until - time.monotonic(), 0))

    def _run(self) -> None:
        self._look()
        while not self._stopped:
            self._wake.wait(max(self._due - time.monotonic(), 0))
            self._wake.clear()
            if not self._stopped:
                self._look()
        self._close()

    def _look(self) -> None:
        self._began_at, self._began = datetime.now(tz=UTC), time.monotonic()
        self._due = self._began + self.interval
        try:
            found = self._ask()
        except Exception as error:  # a driver that is missing, a setting that is wrong: down, whatever the reason
            self._close()
            found = _down(self.seen, in_one_line(self.alias, error), self._began_at)
        if found.state != self.seen.state and DOWN in (found.state, self.seen.state):
            log.warning(
                "%s is %s%s", self.alias, found.state, found.error and f": {found.error}", extra={"alias": self.alias}
            )
        if found.state == DOWN:  # whoever writes waits for the moment in which it is back, or another in its place
            self._due = self._began + self.interval / LOOKS_WHILE_DOWN
        if found.state == UP and self.state == DOWN:  # so far, for whoever asks
            renew_pool(self.alias)
        self.seen = found
        self._ended, self._began, self._suspected = time.monotonic(), None, False
        self._answered.set()

    def _ask(self) -> Health:
        if self._probe:
            # Lost or silent: what counts is whether a new one can be had. Nor does a server count any more that has
            # changed sides: the address may lead to another one by now.
            with suppress(Exception):
                found = self._up(self._probe)
                if found.role == self.seen.role:
                    return found
            self._close()
        from routers.probing import probe  # whose drivers import this module

        self._probe = probe(self.alias)
        return self._up(self._probe)

    def _up(self, probe: "Probe") -> Health:
        cluster = topology().cluster_of_alias(self.alias)
        answer = probe.ask(health(cluster.primary) if cluster else self.seen)
        since = self.seen.since if self.seen.state == UP else self._began_at
        return Health(alias=self.alias, state=UP, since=since, checked_at=datetime.now(tz=UTC), **answer)

    def _close(self) -> None:
        probe, self._probe = self._probe, None
        with suppress(Exception):  # a driver may find that there is nothing left to close
            if probe:
                probe.close()


class Prober:
    """The watches of this process, by alias; none before somebody starts it."""

    def __init__(self) -> None:
        self.watches: dict[str, Watch] = {}
        self._lock = Lock()
        self._inherited: list[dict[str, Watch]] = []

    def ensure_started(self) -> None:
        """Start it if it is not running and settings.DATABASE_PROBER is not off. Cheap: each request calls it."""
        if not self.watches and getattr(settings, "DATABASE_PROBER", True):
            with self._lock:
                self.watches = self.watches or _started()

    def stop(self, **kwargs: Any) -> None:
        """End the threads; one that hangs is left behind."""
        watches, self.watches = self.watches, {}
        for watch in watches.values():
            watch.stop()
        until = time.monotonic() + STOP_SECONDS
        for watch in watches.values():
            watch.thread.join(max(until - time.monotonic(), 0))

    def forget(self) -> None:
        """In a forked process, which has the watches but not their threads."""
        # Kept: the connections are the parent's, and to collect them here would end them there.
        self._inherited.append(self.watches)
        self.watches, self._lock = {}, Lock()


def _started(*, once: bool = False) -> dict[str, Watch]:
    watches = {alias: Watch(alias) for cluster in topology().clusters for alias in cluster.aliases}
    for watch in watches.values():
        watch.start(once=once)
    return watches


def _down(seen: Health, error: str, since: datetime) -> Health:
    """What stays known of a database that is down: what it was, and how far it had come."""
    return Health(
        alias=seen.alias,
        state=DOWN,
        role=seen.role,
        timeline=seen.timeline,
        flushed=seen.flushed,
        error=error,
        since=seen.since if seen.state == DOWN else since,
        checked_at=datetime.now(tz=UTC),
    )


def in_one_line(alias: str, error: Exception) -> str:
    """The driver's own words (its last argument; MySQL's first is a number), without any password."""
    text = " ".join(str(error.args[-1] if error.args else error).split()) or type(error).__name__
    config = connections.settings.get(alias, {})
    options = config.get("OPTIONS", {})
    secrets = [config.get("PASSWORD"), getattr(settings, "DATABASE_PROBE", {}).get("PASSWORD")]
    for secret in (*secrets, *(options.get(key) for key in ("password", "passwd", "passfile"))):
        text = text.replace(str(secret), "…") if secret else text
    return text[:300]


def renew_pool(alias: str, pool: Any = None) -> None:
    """Have the next checkout make new connections: after an outage a pool tries again at growing intervals only. With
    `pool`, only if that one is still in use, and not another one since."""
    pools = getattr(connections[alias], "_connection_pools", {})
    # Taken away before it is closed, as nobody can be served by a pool that is; close_pool() does it the other way.
    if (found := pools.get(alias)) and pool in (None, found) and pools.pop(alias, None):
        found.close(timeout=PROBE_DEADLINE)


prober = Prober()
atexit.register(prober.stop)
os.register_at_fork(after_in_child=prober.forget)


def _changed(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CLUSTERS", "DATABASES", "DATABASE_PROBER"):
        prober.stop()


setting_changed.connect(_changed)
