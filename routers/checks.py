"""System checks: an app without a database, an alias without a cluster, a relation that crosses databases."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db.models import Field, Model
from django.db.models.fields.related import RelatedField

from routers.topology import declared_in, topology


def check_topology(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Everything that can be seen without a connection. IDs: routers.E001 to E004, E007 and W001.

    E005 is beside the admin and E006 beside the managers.
    """
    models = [model for config in app_configs or apps.get_app_configs() for model in config.get_models()]
    return [*_apps_without_cluster(models), *_aliases(), *_unknown_apps(), *_crossing_relations(models)]


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
        if _places(model) and _places(model) != _places(concrete):
            yield _misplaced_proxy(model, concrete)
        for field in (*model._meta.local_fields, *model._meta.local_many_to_many, *model._meta.private_fields):
            for target in _targets(field):
                here, there = _places(model), _places(target)
                if here and there and here != there:
                    yield _crossing(model, field, target)


def _misplaced_proxy(model: type[Model], concrete: type[Model]) -> CheckMessage:
    here, there = " and ".join(_places(model)), " and ".join(_places(concrete))
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


def _places(model: type[Model]) -> tuple[str, ...]:
    return tuple(cluster.primary for cluster in topology().clusters_of_app(model._meta.app_label))


def _crossing(model: type[Model], field: "Field[Any, Any]", target: type[Model]) -> CheckMessage:
    here, there = " and ".join(_places(model)), " and ".join(_places(target))
    return Error(
        f"{model._meta.label}.{field.name} relates to {target._meta.label} across databases: "
        f"{model._meta.label} is on {here}, {target._meta.label} on {there}.",
        hint="No database can join or constrain across. Store the id in a plain field and fetch the rows in a second "
        f"query, or put both apps into one cluster in {declared_in()}.",
        obj=field,
        id="routers.E004",
    )
