"""Rows of one model, moved from the database that they are on to another one that has the model's table.

No transaction spans two databases, so one of them has to be first. Here the copy is committed before the original is
deleted, a batch at a time: a crash in between leaves a batch in both, identical, and the same move again ends it. The
other way round, a crash would leave it in neither.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal

from django.db import connections, transaction
from django.db.models import Max, Model, QuerySet

from routers.topology import topology
from routers.transactions import crossing_databases

Keys = Literal["keep", "renumber"]
WHY = "The copy is committed before the original is deleted, so that a crash leaves the rows in both and loses none."
# Takes the numbers out of the sequence that our keys have used. (setval() could turn it back under somebody's insert.)
DRAW = "SELECT count(nextval(%s::regclass)) FROM generate_series(%s, %s)"
# Takes some 30 ms.
DRAWN_AT_MOST = 100_000
SEQUENCE = """
    SELECT numbers, coalesce(pg_sequence_last_value(numbers::regclass), 0)
      FROM pg_get_serial_sequence(%s, %s) AS numbers
     WHERE numbers IS NOT NULL
"""
logger = logging.getLogger(__name__)


class CannotMove(Exception):
    """These rows cannot be moved as asked."""


class RowExists(CannotMove):
    """Somebody else's row has the key there."""


class RowsReferenced(CannotMove):
    """Rows that would stay behind refer to these by a foreign key."""


def move(
    rows: Iterable[Model] | QuerySet[Any], to: str, *, keys: Keys = "keep", batch_size: int = 500
) -> dict[Any, Any]:
    """Move stored rows of one model to the alias `to`, as they are in the database, and return old key -> new key.

    With keys="renumber" each gets a key that is free on both databases; it is for the caller to change ids that are
    stored elsewhere. A row that is there already, the same in every field, counts as moved by an earlier run; one that
    is gone from its database is left out. Instances are told their new key and database. So the same call again ends a
    move that has crashed; but with "renumber" only where `rows` is a queryset that does not go by the old keys.

    Raises RowExists, RowsReferenced or CannotMove before anything is changed, and again for a batch that somebody else
    has changed meanwhile. Raises RuntimeError inside a transaction on one of the two. Nothing that save() and delete()
    do besides happens: no auto_now, no cascade, and of the signals only pre_save and post_save, with raw=True.
    """
    if isinstance(rows, QuerySet):
        return _Move(rows.model._meta.concrete_model, _primary_of(rows.db), to, keys).run(_pks(rows), batch_size)
    instances = list(rows)
    if not instances:
        return {}
    moved = _Move(*_origin(instances), to, keys).run([instance.pk for instance in instances], batch_size)
    for instance in instances:
        if instance.pk in moved:
            instance.pk, instance._state.db = moved[instance.pk], to
    return moved


def _pks(rows: QuerySet[Any]) -> list[Any]:
    # As the primary has them: the queryset may be one that reads on a replica.
    return list(dict.fromkeys(rows.using(_primary_of(rows.db)).values_list("pk", flat=True)))


def _origin(instances: list[Model]) -> tuple[Any, str]:
    """Their one model and the primary that they come from."""
    origins = {(instance._meta.label, instance._state.db and _primary_of(instance._state.db)) for instance in instances}
    (_, alias), *others = sorted(origins, key=str)
    if others or not alias:
        of = ", ".join(f"{label} on {alias or 'no database yet'}" for label, alias in origins)
        raise CannotMove(f"move() takes stored rows of one model and one database, and these are of {of}.")
    return instances[0]._meta.concrete_model, alias


def _primary_of(alias: str) -> str:
    cluster = topology().cluster_of_alias(alias)
    return cluster.primary if cluster else alias


@dataclass(frozen=True)
class _Move:
    model: Any
    source: str
    to: str
    keys: Keys

    def run(self, pks: list[Any], batch_size: int) -> dict[Any, Any]:
        self.refuse_unfit(pks)
        batches = [pks[start : start + batch_size] for start in range(0, len(pks), batch_size)]
        for batch in batches:
            found = self.read(self.source, batch)
            self.refuse_referenced(found)
            if self.keys == "keep":
                self.refuse_strangers(found, self.read(self.to, found))
        moved: dict[Any, Any] = {}
        for batch in batches:
            renumbered = self.renumber(batch) if self.keys == "renumber" else {}
            there = self.move([renumbered.get(pk, pk) for pk in batch])
            moved |= {pk: new for pk in batch if (new := renumbered.get(pk, pk)) in there}
        return moved

    def move(self, pks: list[Any]) -> dict[Any, Any]:
        """Move what is left of a batch, locked, and return it by key."""
        with crossing_databases(reason=WHY), transaction.atomic(using=self.source, durable=True):
            found = self.read(self.source, pks, lock=True)
            self.refuse_referenced(found)
            with transaction.atomic(using=self.to, durable=True):
                self.copy(found)
            # Not delete(): what would follow a deletion must not follow a move. Of no rows Django makes None.
            deleted = self.rows(self.source, found)._raw_delete(self.source) or 0
            if deleted != len(found):
                raise CannotMove(f"{deleted} of {len(found)} rows could be deleted from {self.source}; they stay.")
        return found

    def copy(self, found: dict[Any, Any]) -> None:
        there = self.read(self.to, found)
        self.refuse_strangers(found, there)
        for pk in found:
            if pk not in there:
                found[pk].save_base(raw=True, force_insert=True, using=self.to)  # as loaddata does
        self.draw_numbers(self.to, found)
        if lost := self.different(found, self.read(self.to, found)):
            raise CannotMove(
                f"{self.named(lost)} cannot be read from {self.to} as it is on {self.source}. Nothing was moved of "
                "this batch. Compare the columns of the two tables."
            )

    def renumber(self, pks: list[Any]) -> dict[Any, Any]:
        """Give each row a free key while it is still here: a copy that is found later then tells whose it is."""
        with transaction.atomic(using=self.source, durable=True):
            found = self.read(self.source, pks, lock=True)
            first = 1 + max(self.highest(self.source), self.highest(self.to))
            # One that is there already has been given its key by an earlier run.
            new = dict(zip(self.different(found, self.read(self.to, found)), count(first), strict=False))
            self.draw_numbers(self.source, new.values())
            for pk, key in new.items():
                self.rows(self.source, [pk]).update(**{self.model._meta.pk.attname: key})
            # Before the commit, so that no crash can take it away.
            logger.info("%s gets new keys on the way from %s to %s: %s", self.label, self.source, self.to, new)
        return new

    def read(self, alias: str, pks: Iterable[Any], *, lock: bool = False) -> dict[Any, Any]:
        rows = self.rows(alias, pks).order_by("pk")
        return {row.pk: row for row in (rows.select_for_update() if lock else rows)}

    def rows(self, alias: str, pks: Iterable[Any]) -> Any:
        return self.model._base_manager.using(alias).filter(pk__in=list(pks))

    def highest(self, alias: str) -> int:
        return self.model._base_manager.using(alias).aggregate(highest=Max("pk"))["highest"] or 0

    def draw_numbers(self, alias: str, keys: Iterable[Any]) -> None:
        """So that the next row that is inserted there finds its number free."""
        if (highest := max(keys, default=None)) and (found := self.sequence(alias)):
            sequence, last = found
            with connections[alias].cursor() as cursor:
                cursor.execute(DRAW, [sequence, last + 1, highest])

    def sequence(self, alias: str) -> Any:
        """The sequence of the model's numbers there and its last one, or None: other engines see to that themselves."""
        connection, number = connections[alias], self.model._meta.auto_field
        if not number or connection.vendor != "postgresql":
            return None
        with connection.cursor() as cursor:
            cursor.execute(SEQUENCE, [connection.ops.quote_name(self.model._meta.db_table), number.column])
            return cursor.fetchone()

    def different(self, found: dict[Any, Any], there: dict[Any, Any]) -> list[Any]:
        """The keys of those that are not there, or not the same in every field."""
        names = [field.attname for field in self.model._meta.concrete_fields]

        def values(row: Any) -> list[Any]:
            return [getattr(row, name) for name in names]

        return [pk for pk in found if pk not in there or values(found[pk]) != values(there[pk])]

    def refuse_strangers(self, found: dict[Any, Any], there: dict[Any, Any]) -> None:
        if strangers := [pk for pk in self.different(found, there) if pk in there]:
            raise RowExists(
                f"{self.named(strangers)} is another row on {self.to} than on {self.source}, and was not overwritten. "
                'Give the moved rows other keys with keys="renumber", or change or delete one of the two.'
            )

    def refuse_referenced(self, pks: Iterable[Any]) -> None:
        for field in self.references:
            referring = field.model._base_manager.using(self.source).filter(**{f"{field.name}__pk__in": list(pks)})
            if number := referring.count():
                raise RowsReferenced(
                    f"{number} of the rows of {field.model._meta.label} on {self.source} refer by {field.name!r} to "
                    f"rows of {self.label} that are to go to {self.to}, and would be left behind. Point them elsewhere "
                    "or delete them first, and make them again where the rows have gone."
                )

    def refuse_unfit(self, pks: list[Any]) -> None:
        if why := next(self.obstacles(pks), ""):
            raise CannotMove(f"{self.label} cannot be moved from {self.source} to {self.to}: {why}")

    def obstacles(self, pks: list[Any]) -> Iterator[str]:
        for alias in (self.source, self.to):
            cluster = topology().cluster_of_alias(alias)
            if cluster and (cluster.read_only or alias != cluster.primary):
                yield f"{alias} is not written to."
        if self.source == self.to:
            yield "they are there."
        if self.model._meta.parents:
            yield f"its rows are spread over several tables, those of {self.label} and of its parents."
        if self.keys == "renumber" and not self.model._meta.auto_field:
            yield 'only numbers that the database gives can be given anew, so not with keys="renumber".'
        if self.model._meta.db_table not in connections[self.to].introspection.table_names():
            yield f"{self.to} has no table {self.model._meta.db_table}. Make it there first."
        yield from self.gaps(pks)

    def gaps(self, pks: list[Any]) -> Iterator[str]:
        """The sequences that are too far behind the keys that the rows will have to be drawn up to them."""
        kept = self.keys == "keep"
        highest = max(pks, default=0) if kept else max(map(self.highest, (self.source, self.to))) + len(pks)
        for alias in (self.to,) if kept else (self.source, self.to):
            sequence, last = self.sequence(alias) or ("", highest)
            if sequence and highest - last > DRAWN_AT_MOST:
                yield (
                    f"their keys go up to {highest}, and {sequence} on {alias} is only at {last}, too far behind to be "
                    "drawn from number by number. As the owner of the table, run there once: "
                    f"SELECT setval('{sequence}', {highest});"
                )

    @property
    def label(self) -> str:
        return str(self.model._meta.label)

    @cached_property
    def references(self) -> list[Any]:
        """The real foreign keys to this model whose tables are on the source."""
        tables = connections[self.source].introspection.table_names()
        relations = (relation for relation in self.model._meta.get_fields(include_hidden=True) if relation.auto_created)
        fields = (relation.field for relation in relations if relation.one_to_many or relation.one_to_one)
        return [field for field in fields if field.db_constraint and field.model._meta.db_table in tables]

    def named(self, pks: list[Any]) -> str:
        others = f" (and {len(pks) - 1} others)" if len(pks) > 1 else ""
        return f"{self.label} {pks[0]!r}{others}"
