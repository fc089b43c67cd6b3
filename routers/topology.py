"""Which database clusters there are and what lives on each. Settings declare it; everything else derives from it."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db.models import Model


@dataclass(frozen=True)
class Cluster:
    """A primary database, its replicas, and the apps whose tables live there.

    `url` and `replica_urls` name the environment variables that say where the servers are; error messages quote them.
    A cluster that is `read_only` holds a schema that is somebody else's: it is never migrated and never written.
    """

    name: str
    _: KW_ONLY
    primary: str
    apps: tuple[str, ...]
    replicas: tuple[str, ...] = ()
    read_only: bool = False
    url: str = ""
    replica_urls: str = ""

    @property
    def aliases(self) -> tuple[str, ...]:
        return (self.primary, *self.replicas)


class UnroutedApp(ImproperlyConfigured):
    """A model's app belongs to no cluster, so no database may be chosen for it."""


class AmbiguousDatabase(ImproperlyConfigured):
    """A shared app has its tables in several databases, so the caller has to say which."""


class Topology:
    """The lookups: app label -> cluster -> alias.

    `shared` maps an app label to the names of the clusters that each hold a copy of its tables.
    Raises ImproperlyConfigured when a label, a name or an alias is declared twice, or a shared app names no cluster.
    """

    def __init__(self, clusters: Iterable[Cluster], shared: Mapping[str, Iterable[str]] | None = None) -> None:
        self.clusters = tuple(clusters)
        self._by_name = _unique("cluster", ((c.name, c) for c in self.clusters))
        self._by_alias = _unique("alias", ((alias, c) for c in self.clusters for alias in c.aliases))
        self._by_app = _unique("app", ((app, c) for c in self.clusters for app in c.apps))
        self.shared = {app: tuple(self._named(app, name) for name in names) for app, names in (shared or {}).items()}
        if nowhere := [app for app, clusters in self.shared.items() if not clusters]:
            raise ImproperlyConfigured(f"SHARED_APPS names no cluster for {nowhere[0]!r}; it needs at least one.")
        if twice := self.shared.keys() & self._by_app.keys():
            raise ImproperlyConfigured(
                f"App {min(twice)!r} is both in a cluster and shared; it can be only one of them."
            )

    def _named(self, app: str, name: str) -> Cluster:
        if name not in self._by_name:
            raise ImproperlyConfigured(f"SHARED_APPS puts {app!r} on {name!r}, which is not a cluster in CLUSTERS.")
        return self._by_name[name]

    @property
    def app_labels(self) -> frozenset[str]:
        """Every app label that has a place."""
        return frozenset(self._by_app) | frozenset(self.shared)

    def cluster_of_alias(self, alias: str) -> Cluster | None:
        return self._by_alias.get(alias)

    def cluster_of_app(self, app_label: str) -> Cluster | None:
        """The app's one cluster; None for a shared app and for an app that has no place."""
        return self._by_app.get(app_label)

    def clusters_of_app(self, app_label: str) -> tuple[Cluster, ...]:
        """Every cluster that holds the app's tables: none, one, or, for a shared app, several."""
        cluster = self._by_app.get(app_label)
        return (cluster,) if cluster else self.shared.get(app_label, ())

    def cluster_of(self, obj: Model | type[Model]) -> Cluster | None:
        """Where a model lives, or where an instance was read or saved. None for a shared model and an unsaved instance
        of one."""
        state = getattr(obj, "_state", None)
        alias = state.db if state else None
        return (self._by_alias.get(alias) if alias else None) or self._by_app.get(obj._meta.app_label)

    def managed_aliases(self) -> tuple[str, ...]:
        """The databases whose schema is ours to migrate: the primaries that are not read only."""
        return tuple(cluster.primary for cluster in self.clusters if not cluster.read_only)

    def labels_on(self, alias: str) -> frozenset[str]:
        """The apps that have tables on this alias (a replica has those of its primary)."""
        cluster = self._by_alias.get(alias)
        if cluster is None:
            return frozenset()
        return frozenset(cluster.apps) | {app for app, clusters in self.shared.items() if cluster in clusters}

    def position_of(self, alias: str) -> int:
        """1 for the first cluster, 2 for the second …: what gives each database its colour. 0 for an unknown alias."""
        cluster = self._by_alias.get(alias)
        return self.clusters.index(cluster) + 1 if cluster else 0


def _unique(kind: str, pairs: Iterable[tuple[str, Cluster]]) -> dict[str, Cluster]:
    found: dict[str, Cluster] = {}
    for key, cluster in pairs:
        if key in found:
            raise ImproperlyConfigured(
                f"The {kind} {key!r} is declared twice in CLUSTERS: in {found[key].name!r} and in {cluster.name!r}."
            )
        found[key] = cluster
    return found


@cache
def topology() -> Topology:
    """The project's topology, from settings.CLUSTERS and settings.SHARED_APPS."""
    return Topology(settings.CLUSTERS, getattr(settings, "SHARED_APPS", None))


def declared_in() -> str:
    """Where to edit the topology, for messages: CLUSTERS and the file that holds it, if settings.CLUSTERS_FILE says."""
    file = getattr(settings, "CLUSTERS_FILE", "")
    return f"CLUSTERS ({file})" if file else "CLUSTERS"


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CLUSTERS", "SHARED_APPS"):
        topology.cache_clear()


setting_changed.connect(_forget)
