"""A relation to a row in another database: everything that Django's ForeignKey does, except the join.

The column holds the id and no constraint. The rows of the other side are fetched from their own database, when they
are asked for or by prefetch_related(). Whatever would need both tables in one statement raises CrossDatabaseJoin.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ValidationError
from django.db import NotSupportedError, connections, router, transaction
from django.db.models import DO_NOTHING, ForeignKey, Model, OneToOneField, QuerySet
from django.db.models.expressions import Col
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.sql import Query
from django.forms import BaseForm, BoundField, ModelChoiceField

from routers.topology import topology

if TYPE_CHECKING:
    AnyForeignKey = ForeignKey[Any, Any]
    AnyOneToOneField = OneToOneField[Any, Any]
    AnyModelChoiceField = ModelChoiceField[Any]
else:
    AnyForeignKey, AnyOneToOneField, AnyModelChoiceField = ForeignKey, OneToOneField, ModelChoiceField

# What becomes of the rows that point at a deleted one: nothing, or what Django's constants of these names do.
KEEP, CASCADE, SET_NULL = POLICIES = ("keep", "cascade", "set null")

# What a queryset may ask for besides a chunk of ids, in parameters.
SPARE_PARAMETERS = 100


class CrossDatabaseJoin(NotSupportedError):
    """A statement would have to reach the tables of two databases."""


def places(model: type[Model]) -> tuple[str, ...]:
    """The primaries that hold the model's table: none, one, or several for a shared app."""
    return tuple(cluster.primary for cluster in topology().clusters_of_app(model._meta.app_label))


def chunks(values: Iterable[Any], alias: str) -> Iterator[list[Any]]:
    """The values in lists that fit into one statement on this alias, with room for what else it says."""
    values = list(values)
    size = min(1_000, connections[alias].features.max_query_params or 1_000) - SPARE_PARAMETERS
    return (values[start : start + size] for start in range(0, len(values), size))


def fields_to(model: type[Model]) -> list["CrossDatabaseForeignKey"]:
    """The fields of other databases that point at this model, or at the one it is a proxy of."""
    relations = model._meta.get_fields(include_parents=False, include_hidden=True)
    fields = (getattr(relation, "field", None) for relation in relations if relation.auto_created)
    return [field for field in fields if isinstance(field, CrossDatabaseForeignKey)]


def carry_out(
    field: "CrossDatabaseForeignKey", keys: Iterable[Any], *, using: str | None = None, batch_size: int = 500
) -> int:
    """Do what the field's policy says to the rows that point at these deleted ones. Returns how many rows changed.

    `using` is the alias of the field's own rows, else the router says. Deletes through the ORM, so that signals are
    sent and cascades followed; where the engine has row locks, that takes the right to UPDATE as well. A row that
    somebody points elsewhere meanwhile stays. Each batch is a transaction of its own, unless the caller has opened one.
    To do it twice does no harm.
    """
    if field.policy == KEEP:
        return 0
    alias = using or router.db_for_write(field.model)
    rows = field.model._base_manager.using(alias)
    changed = 0
    for chunk in chunks(keys, alias):
        left = pointing = rows.filter(**{f"{field.name}__in": chunk}).order_by("pk")
        while batch := list(left.values_list("pk", flat=True)[:batch_size]):
            # By the condition again, and not by these keys: some of them may point elsewhere by now.
            still = pointing.filter(pk__gte=batch[0], pk__lte=batch[-1])
            changed += _delete(still) if field.policy == CASCADE else still.update(**{field.attname: None})
            left = pointing.filter(pk__gt=batch[-1])
    return changed


def _delete(rows: "QuerySet[Any]") -> int:
    """Delete these rows, of which Django makes a list first, and keep others from changing them in between."""
    with transaction.atomic(using=rows.db):
        locked = list(rows.select_for_update().values_list("pk", flat=True))
        _, deleted = rows.model._base_manager.using(rows.db).filter(pk__in=locked).delete()
    return int(deleted.get(rows.model._meta.label, 0))


def _prefetch(
    ask: Callable[..., tuple[Any, ...]],
    queryset: "QuerySet[Any]",
    instances: Sequence[Model],
    key: Callable[[Model], Any],
) -> tuple[Any, ...]:
    """What get_prefetch_querysets() answers, asked on one alias for a chunk of the instances at a time."""
    queryset = queryset.using(queryset.db)
    distinct = {key(instance): instance for instance in instances}.values()
    answers = [ask(chunk, [queryset.all()]) for chunk in chunks(distinct, queryset.db)]
    return [row for rows, *_ in answers for row in rows], *answers[0][1:]


def _without_hints(queryset: "QuerySet[Any]") -> "QuerySet[Any]":
    # The hint is an instance, and routers take an instance's database for that of what is related to it.
    queryset._hints = {}  # type: ignore[attr-defined]  # not in the stubs
    return queryset


class ForwardDescriptor(ForwardManyToOneDescriptor):
    """`post.author`: fetched from its own database. A row that is gone raises DoesNotExist, and is asked for once."""

    def get_queryset(self, **hints: Any) -> "QuerySet[Any]":
        return _without_hints(super().get_queryset(**hints))

    def get_prefetch_querysets(
        self, instances: Sequence[Model], querysets: Sequence["QuerySet[Any]"] | None = None
    ) -> tuple[Any, ...]:
        queryset = querysets[0] if querysets else self.get_queryset(instance=instances[0])
        return _prefetch(self._ask, queryset, instances, self.field.get_local_related_value)

    def __get__(self, instance: Model | None, cls: type[Model] | None = None) -> Any:
        if instance is None:
            return self
        try:
            found = super().__get__(instance, cls)
        except self.field.remote_field.model.DoesNotExist:
            found = None
        if found is None:
            self.field.set_cached_value(instance, None)
            self._raise_if_missing(instance)
        return found

    def __set__(self, instance: Model, value: Any) -> None:
        """As Django does, without asking a router whether the two may be related: they may."""
        if not isinstance(value, self.field.remote_field.model._meta.concrete_model):
            super().__set__(instance, value)
            return
        setattr(instance, self.field.attname, getattr(value, self.field.target_field.attname))
        self.field.set_cached_value(instance, value)
        if not self.field.remote_field.multiple:
            self.field.remote_field.set_cached_value(value, instance)

    def _ask(self, instances: Sequence[Model], querysets: Sequence["QuerySet[Any]"]) -> tuple[Any, ...]:
        # Django compares tuples here, which SQLite gets as an OR for each id.
        field, remote = self.field, self.field.remote_field
        by_key = {field.get_local_related_value(instance): instance for instance in instances}
        rows = querysets[0].filter(**{f"{field.target_field.name}__in": [key for (key,) in by_key]})
        rows.query.clear_ordering()
        if not remote.multiple:
            for row in rows:
                remote.set_cached_value(row, by_key[field.get_foreign_related_value(row)])
        return rows, field.get_foreign_related_value, field.get_local_related_value, True, field.cache_name, False

    def _raise_if_missing(self, instance: Model) -> None:
        field, key = self.field, getattr(instance, self.field.attname)
        target = field.remote_field.model
        if key is not None:
            raise self.RelatedObjectDoesNotExist(
                f"{instance._meta.label}.{field.name} is {target._meta.label} {key}, which does not exist on "
                f"{' or '.join(places(target))}: it has been deleted."
            )
        if not field.null:
            raise self.RelatedObjectDoesNotExist(f"This {instance._meta.label} has no {field.name}.")


class ReverseDescriptor(ReverseManyToOneDescriptor):
    """`user.posts`: a manager of rows in the field's own database."""

    @cached_property
    def related_manager_cls(self) -> type[Any]:
        class CrossDatabaseManager(super().related_manager_cls):  # type: ignore[misc]  # a class that Django makes
            def _apply_rel_filters(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
                return _without_hints(super()._apply_rel_filters(queryset))

            def get_prefetch_querysets(
                self, instances: Sequence[Model], querysets: Sequence["QuerySet[Any]"] | None = None
            ) -> tuple[Any, ...]:
                queryset = querysets[0] if querysets else self.model._default_manager.all()
                key = self.field.get_foreign_related_value
                return _prefetch(super().get_prefetch_querysets, queryset, instances, key)

        return CrossDatabaseManager


class ReverseOneDescriptor(ReverseOneToOneDescriptor):
    """`user.profile`: the one row in the field's own database."""

    def get_queryset(self, **hints: Any) -> "QuerySet[Any]":
        return _without_hints(super().get_queryset(**hints))

    def get_prefetch_querysets(
        self, instances: Sequence[Model], querysets: Sequence["QuerySet[Any]"] | None = None
    ) -> tuple[Any, ...]:
        queryset = querysets[0] if querysets else self.get_queryset(instance=instances[0])
        key = self.related.field.get_foreign_related_value
        return _prefetch(super().get_prefetch_querysets, queryset, instances, key)

    def __set__(self, instance: Model, value: Any) -> None:
        if isinstance(value, self.related.related_model):
            setattr(value, self.related.field.name, instance)
        else:
            super().__set__(instance, value)


class IdColumn(Col):
    """The column of ids in a query. Its lookups take values, and querysets of the same database."""

    target: Any

    def get_lookup(self, lookup: str) -> Any:
        found = super().get_lookup(lookup)
        return found and partial(self._compare, found, lookup)

    def _compare(self, lookup_class: Callable[..., Any], lookup: str, lhs: Any, rhs: Any) -> Any:
        for query in _queries_in(rhs):
            self.target.refuse_subquery(lookup, query.model)
        return lookup_class(lhs, rhs)


def _queries_in(value: Any) -> Iterator[Any]:
    """The queries of models that a lookup's right side is or contains. Nobody can see into RawSQL."""
    query = getattr(value, "query", value)
    if isinstance(query, Query) and query.model:
        yield query
    elif isinstance(value, list | tuple | set):
        yield from chain.from_iterable(map(_queries_in, value))
    elif hasattr(value, "get_source_expressions"):
        yield from chain.from_iterable(map(_queries_in, value.get_source_expressions()))


class CrossDatabaseChoiceField(AnyModelChoiceField):
    """A choice among the rows of another database, or the one that the form came with, though its row be gone."""

    shown: Any = None

    def get_bound_field(self, form: BaseForm, field_name: str) -> BoundField:
        self.shown = form.get_initial_for_field(self, field_name)
        return super().get_bound_field(form, field_name)

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except ValidationError:
            if self.shown is None or self.has_changed(self.shown, value):
                raise
            return self.queryset.model(**{self.to_field_name or "pk": self.shown})  # type: ignore[union-attr]


class CrossDatabaseForeignKey(AnyForeignKey):
    """A ForeignKey to a model in another database. `on_delete` is KEEP, CASCADE or SET_NULL of this module.

    The policy is not carried out with the delete, which could not be one transaction: `routers.signals` announces the
    delete, and whoever listens calls carry_out(). Raises TypeError for a policy of Django's.
    """

    forward_related_accessor_class = ForwardDescriptor
    related_accessor_class = ReverseDescriptor

    def __init__(self, to: Any, on_delete: str, **kwargs: Any) -> None:
        if on_delete not in POLICIES:
            raise TypeError(
                f"{type(self).__name__} takes KEEP, CASCADE or SET_NULL of routers.relations as on_delete. Django's "
                "own policies look for the other rows in the database of the deleted one, where they are not."
            )
        self.policy = on_delete
        super().__init__(to, DO_NOTHING, **{**kwargs, "db_constraint": False})

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["db_constraint"]
        return name, path, args, {**kwargs, "on_delete": self.policy}

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Django's checks, and routers.E008: SET_NULL needs null=True."""
        found = super().check(**kwargs)
        if self.policy == SET_NULL and not self.null:
            hint = "Set null=True, or choose KEEP or CASCADE."
            found.append(Error("The field's policy is SET_NULL, but it takes no NULL.", hint, self, "routers.E008"))
        return found

    def get_col(self, alias: str, output_field: Any = None) -> Col:
        column = super().get_col(alias, output_field)
        return IdColumn(column.alias, column.target, column.output_field)

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        """Django asks for it where it joins, in either direction, and nowhere else. Raises CrossDatabaseJoin."""
        here, there = self.model, self.related_model
        raise CrossDatabaseJoin(
            f"The query follows {here._meta.label}.{self.name} into another database: {here._meta.db_table} is on "
            f"{' and '.join(places(here))}, {there._meta.db_table} on {' and '.join(places(there))}, and they cannot "
            "be joined. For rows to show, use prefetch_related(). For a condition, ask one database for the ids and "
            f"the other by them: {self.name}__in=[1, 2, …]."
        )

    def refuse_subquery(self, lookup: str, model: type[Model]) -> None:
        """Raise CrossDatabaseJoin if the rows of `model` are in another database than the field's."""
        here, there = places(self.model), places(model)
        if not set(here) & set(there):
            raise CrossDatabaseJoin(
                f"{self.model._meta.label} was to be filtered by {self.name}__{lookup} with a queryset of "
                f"{model._meta.label}, which is on {' and '.join(there)} and not on {' and '.join(here)}. Make a list "
                "of it first: list(queryset.values_list('pk', flat=True))."
            )

    def validate(self, value: Any, model_instance: Model | None) -> None:
        """The row must exist in its own database, unless it is the one that is stored already. Raises
        ValidationError."""
        try:
            super().validate(value, None)  # without what Django would give to the router as a hint
        except ValidationError:
            if value is None or not self._is_stored(value, model_instance):
                raise

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": CrossDatabaseChoiceField, **kwargs})

    def save_form_data(self, instance: Model, data: Any) -> None:
        # What is not from a database stands for a row that is gone, and the instance has its id.
        if data is None or not data._state.adding:
            super().save_form_data(instance, data)

    def _is_stored(self, value: Any, instance: Model | None) -> bool:
        if instance is None or instance._state.adding:
            return False
        rows = type(instance)._base_manager.using(instance._state.db)
        return bool(rows.filter(pk=instance.pk, **{self.attname: value}).exists())


class CrossDatabaseOneToOneField(CrossDatabaseForeignKey, AnyOneToOneField):  # type: ignore[misc]  # both have it
    """The same with at most one row on this side for each on the other."""

    related_accessor_class = ReverseOneDescriptor  # type: ignore[assignment]  # as OneToOneField has it
