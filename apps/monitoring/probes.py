"""How every database is: what the prober has seen of it, and what its engine tells of itself.

Only databases that are up are asked for the latter, each in a thread of its own, and nobody waits for longer than they
were told to. A thread that is left behind ends by itself, at the deadline of its connection.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Any

from django.apps import apps
from django.db import connections
from django.template.defaultfilters import filesizeformat

from apps.monitoring.engines import Facts, facts
from routers.health import PRIMARY, REPLICA, UP, Health, snapshot
from routers.topology import Cluster, topology

# For the first answers of a prober that has just been started: long enough to tell "down" from "not yet".
FIRST_SECONDS = 1.2
FACTS_SECONDS = 0.5


def labels_on(alias: str) -> tuple[str, ...]:
    """The installed apps that have their tables on an alias."""
    return tuple(sorted(topology().labels_on(alias) & {config.label for config in apps.get_app_configs()}))


@dataclass(frozen=True, kw_only=True)
class Status:
    """How one database is. `facts` is None where it was not asked for them, or did not tell in time."""

    cluster: Cluster
    health: Health
    facts: Facts | None = None

    @property
    def alias(self) -> str:
        return self.health.alias

    @property
    def apps(self) -> tuple[str, ...]:
        return labels_on(self.alias)

    @property
    def state(self) -> str:
        return self.health.state

    @property
    def declared_role(self) -> str:
        return PRIMARY if self.alias == self.cluster.primary else REPLICA

    @property
    def role(self) -> str:
        """The one that was really seen; the declared one where the engine does not know."""
        return self.health.role or self.declared_role

    @property
    def read_only(self) -> bool:
        return self.role == REPLICA or self.cluster.read_only or bool(self.facts and self.facts.read_only)

    @property
    def is_up(self) -> bool:
        return self.state == UP

    @property
    def is_usable(self) -> bool:
        return self.is_up and not self.error

    @property
    def error(self) -> str:
        """Why it is down, or of no use although it is up; without any password."""
        if self.facts and not self.facts.tables:
            return f"empty: {'load its schema' if self.cluster.read_only else 'run migrate_all'}"
        if self.role == REPLICA and self.health.is_streaming is False:
            return "its WAL receiver is not streaming"
        return self.health.error

    @property
    def remark(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        misplaced = f"declared as a {self.declared_role}, but it is a {self.role}"
        return "; ".join(filter(None, [misplaced if self.role != self.declared_role else "", self.error]))

    @property
    def lag_text(self) -> str:
        """How far a replica is behind: "none", "1.2 MB, 3.4 s", or "unknown"; empty where there is no such thing."""
        seen = self.health
        if not self.is_up or seen.role != REPLICA:
            return ""
        if not seen.lag_bytes:
            return "unknown" if seen.lag_bytes is None else "none"
        size = filesizeformat(seen.lag_bytes).replace("\xa0", " ")
        return size if seen.lag_seconds is None else f"{size}, {seen.lag_seconds:.1f} s"

    def as_dict(self) -> dict[str, Any]:
        """Everything, flat."""
        told = asdict(self.facts) if self.facts else {}
        own = ("apps", "declared_role", "role", "read_only", "error")
        return asdict(self.health) | told | {"cluster": self.cluster.name} | {name: getattr(self, name) for name in own}


def probe_all(
    *, timeout: float = FIRST_SECONDS, facts_of: Iterable[str] | None = None, facts_timeout: float = FACTS_SECONDS
) -> list[Status]:
    """The status of every alias of the topology, in its order; the facts of these aliases (all of them by default)."""
    seen = snapshot(timeout=timeout)
    asked = [alias for alias in (seen if facts_of is None else facts_of) if seen[alias].state == UP]
    told = _gather(asked, facts_timeout)
    return [
        Status(cluster=cluster, health=seen[alias], facts=told.get(alias))
        for cluster in topology().clusters
        for alias in cluster.aliases
    ]


def _gather(aliases: Iterable[str], timeout: float) -> dict[str, Facts]:
    told: dict[str, Facts] = {}
    # A context of its own: what a thread sends belongs to no request's ledger.
    threads = [Thread(target=Context().run, args=(_tell, alias, told), daemon=True) for alias in aliases]
    for thread in threads:
        thread.start()
    until = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    return dict(told)


def _tell(alias: str, told: dict[str, Facts]) -> None:
    connection = connections[alias]
    with suppress(Exception):  # nothing hangs on it: whether the database is of use, others say
        told[alias] = facts(connection)
    connection.close()
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.close()  # Django keeps a database in memory open
