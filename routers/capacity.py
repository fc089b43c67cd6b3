"""The arithmetic of connections: what all web processes may open, beside what each server takes.

The settings WEB_PROCESSES (2, on all machines together) and WEB_THREADS (8, of each process) say how many ask. The
check opens connections, so it runs only for the aliases that are named, and counts no others: name all that a server
has, `manage.py check --deploy --database ALIAS --database ALIAS …`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

POOL_MIN_SIZE = 4  # psycopg_pool's own default; without a max_size it is the size of the pool


class Server(NamedTuple):
    """A server as it is connected to, its max_connections, and how many of these it keeps for its administrators."""

    engine: str
    address: str
    maximum: int
    reserved: int


def check_capacity(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """routers.W002: a server takes fewer connections than the web processes may open, or could not be asked."""
    found: list[CheckMessage] = []
    aliases: dict[Server, list[str]] = defaultdict(list)
    for alias in dict.fromkeys(databases or ()):
        connection = connections[alias]
        if ask := _ASK.get(connection.vendor):
            try:
                aliases[ask(connection)].append(alias)
            except Error as error:
                found.append(_unknown(alias, error))
    for server, names in aliases.items():
        if _needed(names) > server.maximum - server.reserved:
            found.append(_too_few(server, names))
    return found


def _needed(aliases: Sequence[str]) -> int:
    """Each process keeps what its threads use and one for the prober; and one is for a migration."""
    return _processes() * sum(_at_once(alias) + 1 for alias in aliases) + 1


def _processes() -> int:
    return int(getattr(settings, "WEB_PROCESSES", 2))


def _at_once(alias: str) -> int:
    """How many connections a process uses at once: as many as its pool holds, else as it has threads."""
    pool = connections[alias].settings_dict["OPTIONS"].get("pool")
    if not pool:
        return int(getattr(settings, "WEB_THREADS", 8))
    sizes = pool if isinstance(pool, dict) else {}
    return int(sizes.get("max_size") or sizes.get("min_size", POOL_MIN_SIZE))


def _postgresql(connection: BaseDatabaseWrapper) -> Server:
    with connection.cursor() as cursor:
        # The last of them is new in PostgreSQL 16.
        cursor.execute(
            "SELECT name, setting FROM pg_settings "
            "WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"
        )
        limits = {name: int(setting) for name, setting in cursor.fetchall()}
        info = connection.connection.info
    maximum = limits.pop("max_connections")
    return Server(connection.display_name, f"{info.hostaddr or info.host}:{info.port}", maximum, sum(limits.values()))


def _mysql(connection: BaseDatabaseWrapper) -> Server:
    with connection.cursor() as cursor:
        # The one that it keeps for an administrator comes on top.
        cursor.execute("SELECT @@max_connections")
        (maximum,) = cursor.fetchone()
    config = connection.settings_dict
    return Server(connection.display_name, f"{config['HOST'] or 'localhost'}:{config['PORT'] or 3306}", maximum, 0)


_ASK = {"postgresql": _postgresql, "mysql": _mysql}


def _too_few(server: Server, aliases: Sequence[str]) -> CheckMessage:
    each = " + ".join(f"{_at_once(alias)} for {alias}" for alias in aliases)
    return CheckWarning(
        f"The {server.engine} server at {server.address} takes {server.maximum - server.reserved} connections "
        f"(max_connections is {server.maximum}, and {server.reserved} of them are reserved), but up to "
        f"{_needed(aliases)} may be wanted: {_processes()} web processes x ({each} + {len(aliases)} for the health "
        "prober) + 1 for a migration.",
        hint="Choose smaller pools (DATABASE_POOL_SIZE, or max_size in OPTIONS['pool']) or fewer processes or threads "
        "(WEB_PROCESSES, WEB_THREADS), raise max_connections on the server, or put a pooler such as PgBouncer in "
        "front of it.",
        obj=", ".join(aliases),
        id="routers.W002",
    )


def _unknown(alias: str, error: Error) -> CheckMessage:
    reason = str(error).strip().partition("\n")[0]
    return CheckWarning(
        f"The server of {alias} could not be asked how many connections it takes: {reason}",
        hint="See that the server runs, and that the account may connect; then run the check again.",
        obj=alias,
        id="routers.W002",
    )
