"""What the routers decided for the request or task at hand, and why; and what that binds later reads to.

Kept in a ContextVar, so that each request has its own under threads and under async views alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import local
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from routers.positions import Positions


class Decision(NamedTuple):
    """A router's answer: this table is read (or written) on this alias, for this reason."""

    alias: str
    table: str
    reason: str


class Here(local):
    """Tells the thread at hand from all others; an identifier would be given out again once a thread has ended."""

    def __init__(self) -> None:
        self.token = object()


here = Here()


@dataclass
class RoutingState:
    """The decisions of one request, the latest for each alias and table, and by cluster what they lead to."""

    decisions: dict[tuple[str, str], Decision] = field(default_factory=dict)
    is_request: bool = False
    # Whether it is a request that is to write nothing.
    is_safe: bool = False
    # No read may go back behind these.
    required: Positions = field(default_factory=dict)
    # Names of clusters: those that a router was asked for to write, those that a statement that writes was sent to.
    to_write: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    read_primary: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    # Cluster to the one replica that this request reads from, and replica to the position that it said it has reached.
    replicas: dict[str, str] = field(default_factory=dict)
    confirmed: Positions = field(default_factory=dict)
    # Databases that have failed this request; a primary once its connection was lost, and one that was made anew, too.
    lost: set[str] = field(default_factory=set)
    avoided: set[str] = field(default_factory=set)
    # What need not be decided again, by model: the alias, the primary's connection, and the thread that it belongs to.
    settled: dict[type[Model], tuple[str, BaseDatabaseWrapper, object]] = field(default_factory=dict)
    may_settle: bool = True
    marks: int = 0

    def mark(self, names: set[str], name: str) -> None:
        """Add a name to one of the sets above, which may change what was settled."""
        if name not in names:
            names.add(name)
            self.marks += 1
            self.settled.clear()

    def settle(self, model: type[Model], alias: str, primary: BaseDatabaseWrapper, *, marks: int) -> None:
        """Read the model from this alias until something is marked; not if it was since there were so many `marks`. In
        a transaction on the primary it is not settled, nor in other threads, because they have other connections."""
        if self.may_settle and self.marks == marks:
            self.settled[model] = alias, primary, here.token

    def settle_no_more(self) -> None:
        """Because from here on it depends on more than this state."""
        self.may_settle = False
        self.settled.clear()

    @property
    def failures(self) -> int:
        return len(self.lost) + len(self.avoided)

    def start_again(self) -> None:
        """Forget what was read, because nobody will see it; not what has failed."""
        for each in (self.decisions, self.read_primary, self.stale, self.replicas, self.confirmed, self.settled):
            each.clear()
        self.to_write.clear()

    def reason_for(self, alias: str, table: str) -> str | None:
        """Why a statement on this table went to this alias; None when no router was asked."""
        decision = self.decisions.get((alias, table))
        return decision.reason if decision else None


_state: ContextVar[RoutingState | None] = ContextVar("routing_state", default=None)


# The state of the request or task at hand; None where there is none.
current = _state.get


@contextmanager
def routing_state(
    *, is_request: bool = False, is_safe: bool = False, required: Positions | None = None
) -> Iterator[RoutingState]:
    """Open a fresh state for a request or a task, and put the one before it back at the end."""
    state = RoutingState(is_request=is_request, is_safe=is_safe, required=dict(required or {}))
    token = _state.set(state)
    try:
        yield state
    finally:
        _state.reset(token)


def record(decision: Decision) -> None:
    """Remember a decision, where anybody is listening."""
    if state := _state.get():
        state.decisions[decision.alias, decision.table] = decision
