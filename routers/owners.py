"""The account that owns the tables, for the few commands that change them."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

_owners: WeakSet[BaseDatabaseWrapper] = WeakSet()


@contextmanager
def as_owner(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Within the block, connections[alias] of this thread is a connection by settings.OWNER_DATABASES[alias]: as the
    tables' owner, without pool, timeouts and deadline, which are made for visitors. Yields it.

    An alias without an entry there keeps its connection, and so does one in the middle of a transaction.
    """
    own = connections[alias]
    config = getattr(settings, "OWNER_DATABASES", {}).get(alias)
    if config is None or own in _owners or own.in_atomic_block:
        yield own
        return
    # A test's database has another name than the one in the settings.
    config = config | {"NAME": own.settings_dict["NAME"], "TEST": own.settings_dict["TEST"]}
    owner = ConnectionHandler({"default": {}, alias: config})[alias]
    _owners.add(owner)
    own.close()
    connections[alias] = owner
    try:
        yield owner
    finally:
        connections[alias] = own
        owner.close()
