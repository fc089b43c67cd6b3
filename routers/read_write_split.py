"""The router in front of the central one: reads of replicated clusters go to a replica when that breaks no promise.

The promise to each visitor is read-your-writes and monotonic reads ("session guarantees": Terry et al., 1994): nobody
fails to see what they wrote, and nobody sees time go backwards, over requests, replicas and processes. It is never one
snapshot over several servers.
"""

import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections
from django.db.models import Model

from routers import state
from routers.health import DOWN, PRIMARY, UNKNOWN, UP, Health, health, is_down, prober
from routers.positions import UNKNOWN as NOT_TOLD
from routers.positions import Position
from routers.scopes import required_here, scope
from routers.state import Decision, RoutingState, here, record
from routers.topology import Cluster, topology

# What the question to a replica stands under in the ledger: the name that its SQL gives to its own steps.
WAITING = "wait_for_position"
WAIT = """
    WITH RECURSIVE wait_for_position (at) AS (
        SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint
        UNION ALL
        SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint
          FROM wait_for_position, LATERAL pg_sleep(0.002 + 0 * at)
         WHERE at < %s AND clock_timestamp() < statement_timestamp() + %s * interval '1 ms'
    ) SELECT max(at) >= %s FROM wait_for_position
"""

# The reasons that hold for the rest of a request, while no transaction is open and nothing new is marked.
SETTLING = ("sticky", "wrote")

_turns = count()

STRATEGIES: dict[str, Callable[[Sequence[str]], str]] = {
    "random": random.choice,
    # next() of a count is one step of the interpreter, so no two threads get the same number.
    "round robin": lambda replicas: replicas[next(_turns) % len(replicas)],
}


class ReadWriteSplitRouter:
    """Sends reads of clusters with replicas to one of them, one for each cluster and request; goes in front of
    DatabaseRouter, which answers whatever this one has no opinion on.

    Within a request that is the default; elsewhere (commands, tasks) reads go to the primary unless allow_replicas()
    says otherwise. Settings: REPLICA_STRATEGY ("random" or "round robin"), REPLICA_WAIT_MS (50),
    REPLICA_MAX_LAG_SECONDS (30), READ_YOUR_WRITES_SECONDS (5; for engines whose log cannot be asked).
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """A replica, or the primary where the promise needs it; None for a cluster without replicas, and outside a
        request."""
        known = state.current()
        if known is None:
            return None
        if hints:
            _note_origin(hints.get("instance"), known)
        try:
            alias, primary, thread = known.settled[model]
        except KeyError:
            return _decide(model, known)
        return _decide(model, known) if primary.in_atomic_block or thread is not here.token else alias

    def db_for_write(self, model: type[Model], **hints: Any) -> None:
        """Never an opinion; but what follows in this request is read where this will be written."""
        if (known := state.current()) and (cluster := topology().cluster_of_app(model._meta.app_label)):
            known.mark(known.to_write, cluster.name)


def _note_origin(instance: Model | None, known: RoutingState) -> None:
    """What hangs on a row that was read from its primary may not be on any replica yet."""
    origin = instance._state.db if instance is not None else None
    cluster = topology().cluster_of_alias(origin) if origin else None
    if cluster and cluster.replicas and origin == cluster.primary:
        known.mark(known.read_primary, cluster.name)


def _decide(model: type[Model], known: RoutingState) -> str | None:
    marks = known.marks
    cluster = topology().cluster_of_app(model._meta.app_label)
    if cluster is None or not cluster.replicas or not (known.is_request or scope()):
        return None
    alias, reason = choose(cluster, known)
    record(Decision(alias, model._meta.db_table, reason))
    if reason.startswith(SETTLING):
        known.settle(model, alias, connections[cluster.primary], marks=marks)
    return alias


def choose(cluster: Cluster, known: RoutingState) -> tuple[str, str]:
    """The alias that this request reads a cluster's rows from, and why."""
    # No replica is known to have what this request has written.
    wrote = cluster.name in known.written
    required = Position.now(NOT_TOLD) if wrote else required_here(known).get(cluster.name)
    if reason := _why_primary(cluster, known):
        return _primary(cluster, known, reason)
    held = known.replicas.get(cluster.name)
    # Another replica may be behind what the one that this request has read from has shown.
    left = [alias for alias in ([held] if held else cluster.replicas) if alias not in known.avoided]
    primary = health(cluster.primary)
    healthy = [alias for alias in left if not out_of_rotation(health(alias), primary)]
    if held in healthy and _is_far_enough(held, required, known):
        return held, f"sticky: this request reads from {held}"
    if fresh := [alias for alias in healthy if has_passed(alias, required)]:
        return _replica(cluster, known, _strategy()(fresh), f"replica: {_freshness(required)}")
    ahead = max(healthy, key=_how_far, default=None)
    if ahead and required and _waits_for(ahead, required):
        known.confirmed[ahead] = required
        return _replica(cluster, known, ahead, f"replica: {_freshness(required)}")
    if is_gone(cluster, known) and (furthest := max(filter(_answers, left), key=_how_far, default=None)):
        return _stale(cluster, known, furthest)
    return _primary(cluster, known, _behind(required) if healthy and required else "no replica: none is healthy")


def is_gone(cluster: Cluster, known: RoutingState) -> bool:
    """Whether the cluster's primary is down, or has failed this request."""
    return cluster.primary in known.avoided or is_down(cluster.primary)


def has_passed(alias: str, required: Position | None) -> bool:
    """Whether the server is known to have come so far. What the prober saw can only have grown since."""
    if required is None:
        return True
    if required.timeline == NOT_TOLD:
        return False
    if required.is_moment:
        return Position.now().at >= required.at + _window() * 1000
    found = health(alias)
    # Where the replicas' URLs name both servers, for a failover, one of them is the primary.
    at = found.flushed if found.role == PRIMARY else found.replayed
    return found.timeline == required.timeline and at is not None and at >= required.at


def out_of_rotation(replica: Health, primary: Health) -> str:
    """Why nobody reads from the replica, in words; empty while it is in rotation."""
    if replica.state == UNKNOWN:  # as all are where no prober runs
        return "nobody has looked at it lately" if prober.watches else ""
    if replica.state == DOWN:
        return "it is down"
    if replica.role == PRIMARY:
        return "it has been promoted"
    if replica.lag_seconds and replica.lag_seconds > (limit := getattr(settings, "REPLICA_MAX_LAG_SECONDS", 30)):
        return f"it lags by more than {limit} s"
    # One that crashed answers before it has replayed again what it had shown; then it streams.
    if replica.is_streaming is False and primary.state == UP:
        return "it does not stream from its primary"
    if replica.timeline and primary.timeline and replica.timeline != primary.timeline:
        return f"it follows timeline {replica.timeline}, its primary writes timeline {primary.timeline}"
    return ""


def _is_far_enough(alias: str, required: Position | None, known: RoutingState) -> bool:
    return has_passed(alias, required) or known.confirmed.get(alias) == required


def _why_primary(cluster: Cluster, known: RoutingState) -> str:
    """Why the primary has to answer, whatever the replicas are like; empty when it does not."""
    if connections[cluster.primary].in_atomic_block:
        return "transaction: one is open there"
    if cluster.name in known.written | known.to_write and not is_gone(cluster, known):
        return "wrote: this request writes there"
    if scope() is False:
        return "asked: using_primary()"
    # Back to a replica, time would go backwards.
    return f"sticky: this request reads from {cluster.primary}" if cluster.name in known.read_primary else ""


def _primary(cluster: Cluster, known: RoutingState, reason: str) -> tuple[str, str]:
    known.mark(known.read_primary, cluster.name)
    return cluster.primary, reason


def _stale(cluster: Cluster, known: RoutingState, alias: str) -> tuple[str, str]:
    known.stale.add(cluster.name)
    if required := required_here(known).get(cluster.name):
        known.confirmed[alias] = required  # as nobody has it, it is not asked for again
    return _replica(
        cluster, known, alias, "stale: the primary is gone, and no replica is known to have all that you saw"
    )


def _replica(cluster: Cluster, known: RoutingState, alias: str, reason: str) -> tuple[str, str]:
    known.replicas[cluster.name] = alias
    return alias, reason


def _freshness(required: Position | None) -> str:
    return f"it has all that you have seen, {required}" if required else "nothing binds you to the primary"


def _behind(required: Position) -> str:
    if required.timeline == NOT_TOLD:
        return "catching up: its primary has not said how far you have come"
    if required.is_moment:
        return f"catching up: you wrote within the last {_window()} s, and this engine has no log to compare by"
    return f"catching up: no replica has reached {required}"


def _window() -> float:
    seconds: float = getattr(settings, "READ_YOUR_WRITES_SECONDS", 5)
    return seconds


def _strategy() -> Callable[[Sequence[str]], str]:
    return STRATEGIES[getattr(settings, "REPLICA_STRATEGY", "random")]


def _answers(alias: str) -> bool:
    return health(alias).state != DOWN


def _how_far(alias: str) -> tuple[int, int]:
    found = health(alias)
    return found.timeline or 0, found.replayed or found.flushed or 0


def _waits_for(alias: str, required: Position) -> bool:
    """Ask the replica itself, which waits for the position for REPLICA_WAIT_MS, in one query."""
    if required.is_moment or health(alias).timeline != required.timeline:
        return False
    record(Decision(alias, WAITING, f"position: has it reached {required}?"))
    budget = getattr(settings, "REPLICA_WAIT_MS", 50)
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(WAIT, [required.at, budget, required.at])
            return bool(cursor.fetchone()[0])
    except (DatabaseError, SynchronousOnlyOperation):  # an async view is asked for its router on the event loop
        return False
