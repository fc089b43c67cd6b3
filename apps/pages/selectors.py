"""What the home page and the dashboard read, put together from the selectors of the other apps."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import AppConfig, apps
from django.db import Error, connections
from django.urls import reverse

from apps.analytics.selectors import activity_by_type
from apps.blog.selectors import posts_by
from apps.cache.selectors import get_entry
from apps.legacy.selectors import purchases_of
from routers.errors import is_outage
from routers.topology import Cluster, topology

if TYPE_CHECKING:
    from apps.users.models import User

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

FIGURES_KEY = "site:figures"
ACTIVITY_DAYS = 30
POSTS_SHOWN = 10
# Not connection.display_name: to tell MySQL from MariaDB that one connects.
ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}
# The parts of the dashboard, and the app that each comes from.
PARTS = {"posts": "blog", "activity": "analytics", "purchases": "legacy", "figures": "cache"}


@dataclass(frozen=True)
class ClusterRow:
    """A line of the topology on the home page, from settings alone."""

    number: int
    alias: str
    engine: str
    replicas: tuple[str, ...]
    apps: tuple[AppConfig, ...]
    read_only: bool

    @property
    def links(self) -> list[tuple[str, str]]:
        """(label, URL) of the apps on this cluster that visitors may enter."""
        return [(label, reverse(name)) for app in self.apps for label, name, *who in getattr(app, "nav", ()) if not who]

    @property
    def holds(self) -> str:
        """What the apps say they hold, and the labels of those that say nothing."""
        return ", ".join(getattr(app, "holds", app.label) for app in self.apps)


def cluster_rows() -> list[ClusterRow]:
    """Every cluster in the order of the topology, without asking any database."""
    return [_cluster_row(number, cluster) for number, cluster in enumerate(topology().clusters, start=1)]


def _cluster_row(number: int, cluster: Cluster) -> ClusterRow:
    return ClusterRow(
        number=number,
        alias=cluster.primary,
        engine=ENGINES.get(connections[cluster.primary].vendor, "another engine"),
        replicas=cluster.replicas,
        apps=tuple(config for config in apps.get_app_configs() if config.label in cluster.apps),
        read_only=cluster.read_only,
    )


def dashboard_of(user: "User") -> dict[str, Any]:
    """What each database knows of this person: one query each. None where a database did not answer.

    The old system's purchases are shown only to somebody who has proved that the e-mail address is theirs.
    """
    return {
        "places": {part: _place(label) for part, label in PARTS.items()},
        "days": ACTIVITY_DAYS,
        "posts": _or_none(lambda: list(posts_by(user.pk)[:POSTS_SHOWN])),
        "activity": _or_none(lambda: activity_by_type(user.pk, days=ACTIVITY_DAYS)),
        "purchases": _or_none(lambda: list(purchases_of(user.email))) if user.email_confirmed_at else [],
        "figures": _or_none(lambda: get_entry(FIGURES_KEY)),
    }


def _place(label: str) -> dict[str, Any]:
    cluster = topology().clusters_of_app(label)[0]
    return {"alias": cluster.primary, "number": topology().position_of(cluster.primary)}


def _or_none(read: Callable[[], Result]) -> Result | None:
    """The result, or None when its database is down: a page of five databases shows the four that are left."""
    try:
        return read()
    except Error as error:
        if not is_outage(error):
            raise
        logger.exception("A part of the dashboard is left out, because its database did not answer.")
        return None
