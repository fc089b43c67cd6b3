"""Where the code says itself what its reads may do.

Each of these is a context manager and a decorator, also of coroutine functions such as async views, and they nest.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial, wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any

from asgiref.sync import iscoroutinefunction

from routers import state
from routers.health import wait_for_first_look
from routers.positions import Positions, furthest, loads

_allowed: ContextVar[bool | None] = ContextVar("replicas_allowed", default=None)
# What at_least() requires here, besides what the request or task does.
_required: ContextVar[Positions | None] = ContextVar("required_here", default=None)
# What is open in this thread or coroutine, the innermost last: a scope may be entered by several of them at once.
_opened: ContextVar[tuple[AbstractContextManager[None], ...]] = ContextVar("opened_scopes", default=())


def scope() -> bool | None:
    """Whether replicas are allowed here: True, False, or None where nobody has said."""
    return _allowed.get()


def required_here(known: state.RoutingState) -> Positions:
    """What no read may go back behind here."""
    return furthest(known.required, asked) if (asked := _required.get()) else known.required


class Scope:
    """Opens what `make` makes: at each entry as a context manager, at each call as a decorator.

    Raises TypeError as the decorator of a generator function, whose body runs when the call is over.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self.make = make

    def __enter__(self) -> None:
        opened = self.make()
        opened.__enter__()
        _opened.set((*_opened.get(), opened))

    def __exit__(self, *error: Any) -> None:
        *before, last = _opened.get()
        _opened.set(tuple(before))
        last.__exit__(*error)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator function. Write the scope as a `with` inside it.")

        @wraps(function)
        def sync(*args: Any, **kwargs: Any) -> Any:
            with self.make():
                return function(*args, **kwargs)

        @wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with self.make():
                return await function(*args, **kwargs)

        return coroutine if iscoroutinefunction(function) else sync


def using_primary() -> Scope:
    """Reads go to the primary, and for the rest of a request they stay there."""
    return Scope(partial(_allow, allowed=False))


def allow_replicas() -> Scope:
    """Reads may go to replicas, also outside a request. The first time in a process it waits until these have been
    looked at, for half a second at most."""
    return Scope(partial(_allow, allowed=True))


def at_least(text: str) -> Scope:
    """Reads may go to replicas that have reached what position() returned elsewhere, in a request or another task.

    Raises ValueError for a text that is none of ours.
    """
    return Scope(partial(_require, loads(text) if text else {}))


@contextmanager
def _allow(*, allowed: bool) -> Iterator[None]:
    token = _allowed.set(allowed)
    if allowed:
        wait_for_first_look()
    try:
        with _any_state() as known:
            known.settle_no_more()
            yield
    finally:
        _allowed.reset(token)


@contextmanager
def _require(positions: Positions) -> Iterator[None]:
    token = _required.set(furthest(_required.get() or {}, positions))
    try:
        with _allow(allowed=True):
            yield
    finally:
        _required.reset(token)


def _any_state() -> AbstractContextManager[state.RoutingState]:
    """The state of the request or task at hand, or else a new one."""
    known = state.current()
    return nullcontext(known) if known else state.routing_state()
