"""A transaction on the database that a model is on, and the escapes from the guards of transactions and of reads.

Each is a context manager and a decorator, as those of routers.scopes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from django.db import router, transaction
from django.db.models import Model

from routers.scopes import Scope

# The reason that the code gives where it does what a guard would stop; empty elsewhere.
crossing: ContextVar[str] = ContextVar("crossing_databases", default="")
writing: ContextVar[str] = ContextVar("writing_on_safe_request", default="")


def atomic_for(model: type[Model], *, savepoint: bool = True, durable: bool = False) -> Scope:
    """transaction.atomic() on the database that the router writes this model to, which it is asked at each call.

    Raises what the router raises: AmbiguousDatabase for a shared app, ReadOnlyDatabase, UnroutedApp.
    """
    return Scope(lambda: transaction.atomic(using=router.db_for_write(model), savepoint=savepoint, durable=durable))


def crossing_databases(*, reason: str) -> Scope:
    """A second database may be written here while a transaction is open on the first. Raises ValueError without a
    reason: why no failure in between leaves half of it."""
    return _escape(crossing, reason)


def writing_on_safe_request(*, reason: str) -> Scope:
    """A GET, HEAD or OPTIONS request may write here. Raises ValueError without a reason: why it may be repeated, or
    made by a robot, without harm."""
    return _escape(writing, reason)


def _escape(variable: ContextVar[str], reason: str) -> Scope:
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError(f"{variable.name}() needs a reason that is not empty: a sentence for whoever reads the code.")
    return Scope(partial(_given, variable, reason))


@contextmanager
def _given(variable: ContextVar[str], reason: str) -> Iterator[None]:
    token = variable.set(reason)
    try:
        yield
    finally:
        variable.reset(token)
