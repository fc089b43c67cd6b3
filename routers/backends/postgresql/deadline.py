"""A connection that does not wait for ever: no setting of a server or of libpq ends a query on a server that hangs."""

import time
from collections.abc import Generator
from typing import Any

import psycopg

from routers.health import is_down, suspect

SUSPECT_AFTER = 0.5  # seconds


class DeadlineConnection(psycopg.Connection[Any]):
    """A psycopg connection that gives up a statement after `deadline` seconds, whatever the server does.

    Long before that, after half a second, it has the prober look at the server; if that finds it hanging too, the
    statement is given up there and then. A server that is merely slow is left to work. On giving up the connection is
    closed, for nobody knows what became of the statement, and OperationalError is raised, without an SQLSTATE, as for
    any connection that is lost. With `deadline` None it waits like any other. A connection that the server has ended
    has the prober look, too.
    """

    alias: str = ""
    deadline: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().wait(gen if self.deadline is None else self._watched(gen, self.deadline), *args, **kwargs)
        except psycopg.OperationalError:
            if self.closed:
                suspect(self.alias)
            raise

    def _watched(self, gen: Any, deadline: float) -> Generator[Any, Any, Any]:
        """Pass on what `gen` asks for and what it is sent. Several times a second that is 0, for "not ready"."""
        started, suspected = time.monotonic(), False
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                waited = time.monotonic() - started
                if not ready and waited > SUSPECT_AFTER:
                    if not suspected:
                        suspected = True
                        suspect(self.alias)
                    if waited > deadline or is_down(self.alias):
                        self._give_up(waited)
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value

    def _give_up(self, waited: float) -> None:
        self.pgconn.finish()
        raise psycopg.OperationalError(
            f"no answer from {self.alias} for {waited:.1f} s; the connection was given up, and whether the server "
            "carried out the last statement is not known"
        )
