"""The central router: every app to its own database, and no table anywhere else."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model

from routers.state import Decision, record
from routers.topology import AmbiguousDatabase, Cluster, UnroutedApp, declared_in, topology


class ReadOnlyDatabase(Exception):
    """A write was meant for a database that this project only reads."""


class DatabaseRouter:
    """Sends each model to the primary of its app's cluster.

    It always has an opinion: a model whose app has no cluster raises UnroutedApp, because Django's own answer would be
    to put it on `default` in silence. Routers with narrower rules go in front of this one in DATABASE_ROUTERS.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The primary of the model's cluster; for a shared app, where the instance at hand lives.

        Raises UnroutedApp for an app without a place, AmbiguousDatabase for a shared app without an instance.
        """
        return self._answer(model, hints)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """The same alias as for reads: a row that was read from a replica is saved to its primary.

        Raises also ReadOnlyDatabase for a cluster that is declared read only.
        """
        alias = self._answer(model, hints)
        cluster = topology().cluster_of_alias(alias)
        if cluster and cluster.read_only:
            raise ReadOnlyDatabase(
                f"{model._meta.label} cannot be written: {alias} is declared read only in CLUSTERS, because its schema "
                "and its rows belong to another system. Change them there."
            )
        return alias

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool:
        """True within a cluster (a primary and its replicas), false across clusters. Never None."""
        first, second = topology().cluster_of(obj1), topology().cluster_of(obj2)
        return first is not None and first == second

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        """True where the app's tables belong: on the primary of its cluster. Never None, never on a replica.

        A RunSQL or RunPython may carry `hints={"target_db": alias, "target_vendor": "postgresql"}` and then runs only
        on that alias and that engine. Raises ImproperlyConfigured when `target_db` is not a home of the app.
        """
        homes = [cluster.primary for cluster in topology().clusters_of_app(app_label) if not cluster.read_only]
        if (target := hints.get("target_db")) is not None:
            homes = [_checked_target(target, app_label, homes)]
        return db in homes and _vendor_fits(db, hints.get("target_vendor"))

    def _answer(self, model: type[Model], hints: dict[str, Any]) -> str:
        app_label = model._meta.app_label
        clusters = topology().clusters_of_app(app_label)
        if app_label in topology().shared:
            return _shared_alias(model, clusters, hints.get("instance"))
        if not clusters:
            raise UnroutedApp(
                f"{model._meta.label} has no database: the app {app_label!r} is in no cluster. "
                f"Add it to the `apps` of one in {declared_in()}."
            )
        cluster = clusters[0]
        record(Decision(cluster.primary, model._meta.db_table, f"app: {app_label} lives on {cluster.primary}"))
        return cluster.primary


def _shared_alias(model: type[Model], clusters: tuple[Cluster, ...], instance: Model | None) -> str:
    """The primary of the cluster that the instance came from, which is the only thing that can decide."""
    origin = instance._state.db if instance is not None else None
    cluster = topology().cluster_of_alias(origin) if origin else None
    if cluster is None or cluster not in clusters:
        raise AmbiguousDatabase(
            f"{model._meta.label} has a table in each of {', '.join(c.primary for c in clusters)}. "
            "Say which one with using=, or .using() on a queryset."
        )
    record(Decision(cluster.primary, model._meta.db_table, f"instance: the row came from {origin}"))
    return cluster.primary


def _checked_target(target: str, app_label: str, homes: list[str]) -> str:
    if target not in homes:
        raise ImproperlyConfigured(
            f"A migration of {app_label!r} carries hints={{'target_db': {target!r}}}, but that app's tables are on "
            f"{', '.join(homes) or 'no database that is migrated'}. Name one of those, or move the migration to an app "
            f"that lives on {target!r}."
        )
    return target


def _vendor_fits(alias: str, vendor: str | None) -> bool:
    return vendor is None or connections[alias].vendor == vendor
