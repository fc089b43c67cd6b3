"""How far a request or task has come in each cluster's log, for the next one not to fall behind it."""

from django.db import DatabaseError, connections, transaction

from routers import state
from routers.health import health
from routers.positions import UNKNOWN, Position, Positions, dumps, furthest
from routers.read_write_split import has_passed
from routers.scopes import required_here
from routers.state import Decision, RoutingState, record
from routers.topology import Cluster, topology

AT = "position_reached"  # what the questions stand under in the ledger
# The flush position, after the COMMIT: before it the commit's own record is missing, and the insert position overshoots
# into page headers that an idle replica never reaches.
PRIMARY_AT = """
    SELECT ('x' || left(pg_walfile_name(position_reached), 8))::bit(32)::bigint, (position_reached - '0/0')::bigint
      FROM pg_current_wal_flush_lsn() AS position_reached
"""
REPLICA_AT = "SELECT (position_reached - '0/0')::bigint FROM pg_last_wal_replay_lsn() AS position_reached"


def position() -> str:
    """Where this request or task has come to, as text to put into a message: give it to at_least() there.

    Costs a query for each server that was written or read; in a command, where nobody keeps account of that, for each
    cluster with replicas. Raises TransactionManagementError inside a transaction, whose end nobody knows yet.
    """
    for cluster in _replicated():
        if connections[cluster.primary].in_atomic_block:
            raise transaction.TransactionManagementError(
                f"position() was called inside a transaction on {cluster.primary}, before there is a commit to wait "
                "for. Call it in transaction.on_commit(), or after the block."
            )
    if (known := state.current()) is None:
        known = RoutingState(written={cluster.name for cluster in _replicated()})
    return dumps(reached(known))


def reached(known: RoutingState) -> Positions:
    """The positions that were required, written or seen: at most one query for each server that was written or read."""
    each = {cluster.name: _position(cluster, known) for cluster in _replicated()}
    found = {name: position for name, position in each.items() if position}
    # What a primary answers is all that there is, also when its log has begun anew since.
    told = found.keys() & (known.written | known.read_primary)
    required = {name: position for name, position in required_here(known).items() if name not in told}
    return furthest(required, found)


def outstanding(positions: Positions) -> Positions:
    """Those that some replica may not have reached, as far as is known. The others bind nobody any more."""
    return {
        cluster.name: positions[cluster.name]
        for cluster in _replicated()
        if cluster.name in positions
        and not all(has_passed(alias, positions[cluster.name]) for alias in cluster.replicas)
    }


def _replicated() -> list[Cluster]:
    return [cluster for cluster in topology().clusters if cluster.replicas]


def _position(cluster: Cluster, known: RoutingState) -> Position | None:
    wrote = cluster.name in known.written
    if wrote or cluster.name in known.read_primary:
        return _of_primary(cluster.primary, wrote=wrote)
    # From the only replica there is one way alone, to the primary, and that is ahead. (But for commits that still wait
    # for a synchronous standby, which a replica may show before.)
    held = known.replicas.get(cluster.name)
    return _of_replica(held) if held and len(cluster.replicas) > 1 else None


def _of_primary(alias: str, *, wrote: bool) -> Position | None:
    if connections[alias].vendor != "postgresql":
        return Position.now() if wrote else None
    # Inside a transaction that goes on there is no commit yet that a position could stand for.
    row = None if connections[alias].in_atomic_block else _ask(alias, PRIMARY_AT)
    return Position(*row) if row else Position.now(UNKNOWN)


def _of_replica(alias: str) -> Position | None:
    if connections[alias].vendor != "postgresql":
        return None
    timeline = health(alias).timeline
    row = timeline and _ask(alias, REPLICA_AT)
    return Position(timeline, row[0]) if timeline and row else Position.now(UNKNOWN)


def _ask(alias: str, sql: str) -> tuple[int, ...] | None:
    record(Decision(alias, AT, "position: how far this request has come"))
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql)
            row: tuple[int, ...] = cursor.fetchone()
            return row
    except DatabaseError:
        return None
