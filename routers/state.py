"""What the routers decided for the request or task at hand, and why.

Kept in a ContextVar, so that each request has its own under threads and under async views alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Decision:
    """A router's answer: this table is read (or written) on this alias, for this reason."""

    alias: str
    table: str
    reason: str


@dataclass
class RoutingState:
    """The decisions of one request, the latest for each alias and table."""

    decisions: dict[tuple[str, str], Decision] = field(default_factory=dict)

    def reason_for(self, alias: str, table: str) -> str | None:
        """Why a statement on this table went to this alias; None when no router was asked."""
        decision = self.decisions.get((alias, table))
        return decision.reason if decision else None


_state: ContextVar[RoutingState | None] = ContextVar("routing_state", default=None)


def current() -> RoutingState | None:
    return _state.get()


@contextmanager
def routing_state() -> Iterator[RoutingState]:
    """Open a fresh state for a request or a task, and put the one before it back at the end."""
    state = RoutingState()
    token = _state.set(state)
    try:
        yield state
    finally:
        _state.reset(token)


def record(decision: Decision) -> None:
    """Remember a decision, where anybody is listening."""
    if state := _state.get():
        state.decisions[decision.alias, decision.table] = decision
