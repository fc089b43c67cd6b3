"""How every database is: what the prober has seen of it, what its engine tells of itself, and what waits in its outbox.

Only databases that are up are asked for the latter two, each in a thread of its own, and nobody waits for longer than
they were told to. A thread that is left behind ends by itself, at the deadline of its connection.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.template.defaultfilters import filesizeformat

from apps.monitoring.engines import Facts, facts
from apps.monitoring.messages import Messages, senders
from apps.outbox.selectors import Backlog, backlog
from routers.health import PRIMARY, REPLICA, UP, Health, snapshot
from routers.read_write_split import out_of_rotation
from routers.topology import Cluster, topology

# For the first answers of a prober that has just been started: long enough to tell "down" from "not yet".
FIRST_SECONDS = 1.2
FACTS_SECONDS = 0.5

Question = Callable[[BaseDatabaseWrapper], Any]


def labels_on(alias: str) -> tuple[str, ...]:
    """The installed apps that have their tables on an alias."""
    return tuple(sorted(topology().labels_on(alias) & {config.label for config in apps.get_app_configs()}))


@dataclass(frozen=True, kw_only=True)
class Status:
    """How one database is. `facts` is None where it was not asked for them, or did not tell in time; `quarantine` says
    why no visitor's reads are sent to a replica, and is empty while they are; `messages` is None where none are sent.
    """

    cluster: Cluster
    health: Health
    facts: Facts | None = None
    quarantine: str = ""
    messages: Messages | None = None

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
        quarantine = self.quarantine and f"quarantine: {self.quarantine}"
        misplaced = f"declared as a {self.declared_role}, but it is a {self.role}"
        misplaced = misplaced if self.role != self.declared_role else ""
        messages = self.messages.remark if self.messages else ""
        return "; ".join(filter(None, [quarantine, misplaced, self.error, messages]))

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
        """Everything, flat but for the tables and the messages."""
        told = asdict(self.facts) if self.facts else {}
        told["messages"] = self.messages and self.messages.as_dict()
        own = ("apps", "declared_role", "role", "read_only", "quarantine", "error")
        return asdict(self.health) | told | {"cluster": self.cluster.name} | {name: getattr(self, name) for name in own}


def probe_all(
    *, timeout: float = FIRST_SECONDS, facts_of: Iterable[str] | None = None, facts_timeout: float = FACTS_SECONDS
) -> list[Status]:
    """The status of every alias of the topology, in its order; the facts of these aliases (all of them by default)."""
    seen, sending = snapshot(timeout=timeout), senders()
    up = {alias for alias, health in seen.items() if health.state == UP}
    asked = up.intersection(seen if facts_of is None else facts_of)
    told, counted = _gather({facts: asked, _count: up.intersection(sending)}, facts_timeout)
    return [
        Status(
            cluster=cluster,
            health=seen[alias],
            facts=told.get(alias),
            messages=Messages(counted.get(alias, Backlog())) if alias in sending else None,
            quarantine=out_of_rotation(seen[alias], seen[cluster.primary]) if alias in cluster.replicas else "",
        )
        for cluster in topology().clusters
        for alias in cluster.aliases
    ]


def _count(connection: BaseDatabaseWrapper) -> Backlog:
    return backlog(connection.alias)[connection.alias]


def _gather(questions: dict[Question, set[str]], timeout: float) -> list[dict[str, Any]]:
    """The answers to each question by alias, as far as there are any in time."""
    told: dict[Question, dict[str, Any]] = {question: {} for question in questions}
    # A context of its own: what a thread sends belongs to no request's ledger.
    threads = [
        Thread(target=Context().run, args=(_ask, alias, question, told[question]), daemon=True)
        for question, aliases in questions.items()
        for alias in aliases
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    return [dict(answers) for answers in told.values()]


def _ask(alias: str, question: Question, told: dict[str, Any]) -> None:
    connection = connections[alias]
    with suppress(Exception):  # nothing hangs on it: whether the database is of use, others say
        told[alias] = question(connection)
    connection.close()
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.close()  # Django keeps a database in memory open
