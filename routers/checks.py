"""System checks: an app without a database, an alias without a cluster, a relation that crosses databases."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseFailure
from django.db import connections
from django.db.models import Field, Model
from django.db.models.fields.related import RelatedField

from routers.read_write_split import STRATEGIES
from routers.relations import CrossDatabaseForeignKey, places
from routers.topology import declared_in, topology


def check_topology(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Everything that can be seen without a connection. IDs: routers.E001 to E004, E007, E009, W001, W005 and W006.

    E005 is beside the admin, E006 beside the managers and E008 beside the relations.
    """
    models = [model for config in app_configs or apps.get_app_configs() for model in config.get_models()]
    return [
        *_apps_without_cluster(models),
        *_aliases(),
        *_atomic_requests(),
        *_strategy(),
        *_unknown_apps(),
        *_crossing_relations(models),
    ]


def check_commits(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """routers.W004: a primary with replicas acknowledges commits before they have a place in its log. Asks the aliases
    that are named; what cannot be asked, other checks report."""
    primaries = {cluster.primary for cluster in topology().clusters if cluster.replicas}
    return [
        CheckWarning(
            f"synchronous_commit is off for {alias}, so its visitors' positions may lie before what they wrote.",
            hint="Set it to local or higher on the server, or for the role. What was acknowledged can be lost besides.",
            obj=alias,
            id="routers.W004",
        )
        for alias in databases or ()
        if alias in primaries and _commits_are_asynchronous(alias)
    ]


def _commits_are_asynchronous(alias: str) -> bool:
    if connections[alias].vendor != "postgresql":
        return False
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return bool(cursor.fetchone()[0] == "off")
    except DatabaseFailure:
        return False


def _apps_without_cluster(models: list[type[Model]]) -> Iterator[CheckMessage]:
    for label in sorted({model._meta.app_label for model in models} - topology().app_labels):
        yield Error(
            f"The app {label!r} has models but no database.",
            hint=f"Add {label!r} to the `apps` of a cluster in {declared_in()}, or to SHARED_APPS.",
            obj=label,
            id="routers.E001",
        )


def _aliases() -> Iterator[CheckMessage]:
    declared = {alias for cluster in topology().clusters for alias in cluster.aliases}
    # Where nothing is configured, Django puts an engine that refuses everything.
    configured = {alias for alias, config in settings.DATABASES.items() if "dummy" not in config.get("ENGINE", "dummy")}
    for alias in sorted(declared - configured):
        yield Error(
            f"The alias {alias!r} is in {declared_in()} but not in DATABASES.",
            hint="Every alias of a cluster needs a database.",
            obj=alias,
            id="routers.E002",
        )
    for alias in sorted(configured - declared):
        yield Error(
            f"The alias {alias!r} is in DATABASES but in no cluster.",
            hint=f"Declare it in {declared_in()}; the router sends nothing to an alias that it does not know.",
            obj=alias,
            id="routers.E003",
        )


def _atomic_requests() -> Iterator[CheckMessage]:
    for cluster in topology().clusters:
        if cluster.replicas and settings.DATABASES.get(cluster.primary, {}).get("ATOMIC_REQUESTS"):
            yield CheckWarning(
                f"ATOMIC_REQUESTS is on for {cluster.primary}, so no page is read from {', '.join(cluster.replicas)}: "
                "reads inside a transaction go to its primary.",
                hint="Turn it off, and open a transaction where several writes belong together.",
                obj=cluster.primary,
                id="routers.W006",
            )


def _strategy() -> Iterator[CheckMessage]:
    chosen = getattr(settings, "REPLICA_STRATEGY", "random")
    if chosen not in STRATEGIES:
        yield Error(
            f"REPLICA_STRATEGY is {chosen!r}, which is none of ours.",
            hint=f"Set it to one of: {', '.join(map(repr, STRATEGIES))}.",
            id="routers.E009",
        )


def _unknown_apps() -> Iterator[CheckMessage]:
    for label in sorted(topology().app_labels - {config.label for config in apps.get_app_configs()}):
        if label not in getattr(settings, "OPTIONAL_APPS", ()):
            yield CheckWarning(
                f"{declared_in()} names the app {label!r}, which is not in INSTALLED_APPS.",
                hint="Correct the label, or remove it.",
                obj=label,
                id="routers.W001",
            )


def _crossing_relations(models: list[type[Model]]) -> Iterator[CheckMessage]:
    for model in models:
        concrete = model._meta.concrete_model or model
        if places(model) and places(model) != places(concrete):
            yield _misplaced_proxy(model, concrete)
        for field in (*model._meta.local_fields, *model._meta.local_many_to_many, *model._meta.private_fields):
            for target in _targets(field):
                here, there = places(model), places(target)
                is_made_for_it = isinstance(field, CrossDatabaseForeignKey)
                if here and there and (here == there) == is_made_for_it:
                    yield _needless(model, field, target) if is_made_for_it else _crossing(model, field, target)


def _misplaced_proxy(model: type[Model], concrete: type[Model]) -> CheckMessage:
    here, there = " and ".join(places(model)), " and ".join(places(concrete))
    return Error(
        f"{model._meta.label} is a proxy of {concrete._meta.label}, whose table is on {there}, "
        f"but its app lives on {here}.",
        hint=f"A proxy has no table of its own. Move it to the app {concrete._meta.app_label!r}.",
        obj=model,
        id="routers.E007",
    )


def _targets(field: "Field[Any, Any]") -> Iterator[type[Model]]:
    """The models whose rows the field's own SQL would have to reach."""
    if isinstance(field, RelatedField) and isinstance(field.remote_field.model, type):
        yield field.remote_field.model
    elif hasattr(field, "ct_field"):  # a GenericForeignKey reads the content type beside its own row
        yield apps.get_model("contenttypes", "ContentType")


def _crossing(model: type[Model], field: "Field[Any, Any]", target: type[Model]) -> CheckMessage:
    here, there = " and ".join(places(model)), " and ".join(places(target))
    return Error(
        f"{model._meta.label}.{field.name} relates to {target._meta.label} across databases: "
        f"{model._meta.label} is on {here}, {target._meta.label} on {there}.",
        hint="No database can join or constrain across. Use CrossDatabaseForeignKey of routers.relations, or put both "
        f"apps into one cluster in {declared_in()}.",
        obj=field,
        id="routers.E004",
    )


def _needless(model: type[Model], field: "Field[Any, Any]", target: type[Model]) -> CheckMessage:
    return CheckWarning(
        f"{model._meta.label}.{field.name} relates to {target._meta.label} as if across databases, but both are on "
        f"{' and '.join(places(model))}.",
        hint="Use Django's ForeignKey: it joins, and the database keeps it true.",
        obj=field,
        id="routers.W005",
    )
