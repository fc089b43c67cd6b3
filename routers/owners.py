"""Connections for commands: as the owner of the tables, or as oneself without the limits that are made for visitors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

_owners: WeakSet[BaseDatabaseWrapper] = WeakSet()


@contextmanager
def as_owner(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Within the block, connections[alias] of this thread is a connection by settings.OWNER_DATABASES[alias]: as the
    tables' owner, without pool, timeouts and deadline. Yields it.

    An alias without an entry there keeps its connection, and so does one in the middle of a transaction.
    """
    own, config = connections[alias], getattr(settings, "OWNER_DATABASES", {}).get(alias)
    if config is None or own in _owners or own.in_atomic_block:
        yield own
        return
    with _replaced(own, config) as owner:
        _owners.add(owner)
        yield owner


@contextmanager
def unlimited(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """The same by the alias's own account, for what may take long: a report, a COPY, a VACUUM.

    An alias without limits keeps its connection, and so does one in the middle of a transaction.
    """
    own = connections[alias]
    if "TIMEOUT" not in own.settings_dict or own.in_atomic_block:
        yield own
        return
    config = {key: value for key, value in own.settings_dict.items() if key != "TIMEOUT"}
    config["OPTIONS"] = {key: value for key, value in config["OPTIONS"].items() if key != "pool"}
    with _replaced(own, config) as free:
        yield free


@contextmanager
def _replaced(own: BaseDatabaseWrapper, config: dict[str, Any]) -> Iterator[BaseDatabaseWrapper]:
    """Another connection under the same alias. The one before it stays open: it may hold a lock."""
    # A test's database has another name than the one in the settings.
    config = config | {"NAME": own.settings_dict["NAME"], "TEST": own.settings_dict["TEST"]}
    other = ConnectionHandler({"default": {}, own.alias: config})[own.alias]
    connections[own.alias] = other
    try:
        yield other
    finally:
        connections[own.alias] = own
        other.close()
