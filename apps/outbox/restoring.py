"""What other databases know of rows that a restored one knows no more, or knows again; asked before the site starts.

A backup has its sequences as they were, so the next row would get the id of one that is lost, and with it whatever
points there: a stranger's drafts. And it has rows that have been deleted since, of which others keep Tombstones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import NotSupportedError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, IntegerField, Max, Model
from django.db.models.functions import Cast

from apps.outbox.models import Tombstone
from apps.outbox.registry import outboxes
from apps.outbox.tombstones import label_of, noted
from routers.owners import as_owner
from routers.relations import CrossDatabaseForeignKey, fields_to, places

# How far beyond the highest id that is known: for rows that have left no trace but a message, a link or a cache entry.
GAP = 1000
BATCH = 500

LAST = {
    "postgresql": "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass)",
    "sqlite": "SELECT seq FROM sqlite_sequence WHERE name = %s",
}
# In one statement, for whoever has started the site too early.
ADVANCE = """
SELECT setval(sequence, greatest(coalesce(pg_sequence_last_value(sequence), 0), %s))
FROM (SELECT pg_get_serial_sequence(%s, %s)::regclass) AS found (sequence)
"""

_deletions: dict[type[Model], Callable[[Any], object]] = {}


@dataclass(frozen=True)
class Advance:
    """The last id that a model's sequence has given, and the one after which it shall go on."""

    model: type[Model]
    last: int
    least: int

    @property
    def is_due(self) -> bool:
        return self.last < self.least


def register_deletion(model: type[Model], delete: Callable[[Any], object]) -> None:
    """Have rows of this model that are back deleted by the app's own service, which takes an instance."""
    _deletions[model] = delete


def parents_on(alias: str) -> list[type[Model]]:
    """The models with a table there to whose rows fields of other databases point."""
    models = [model for model in apps.get_models() if alias in places(model) and not model._meta.proxy]
    return [model for model in models if _pointing_at(model)]


def resurrected(model: type[Model], *, using: str) -> Iterator[Model]:
    """The rows on `using` of which another database has been told that they are gone, in the order of their keys: one
    query on each side for a batch."""
    elsewhere = [alias for alias in outboxes() if alias != using]
    left = rows = model._base_manager.using(using).order_by("pk")
    while batch := list(left[:BATCH]):
        ids = [row.pk for row in batch]
        gone = set().union(*(noted(model, ids, using=alias) for alias in elsewhere))
        yield from (row for row in batch if row.pk in gone)
        left = rows.filter(pk__gt=ids[-1])


def delete_again(row: Model, *, using: str) -> None:
    """Delete a row that is back, which tells the other databases once more."""
    if delete := _deletions.get(type(row)):
        delete(row)
    else:
        with transaction.atomic(using=using):
            row.delete(using=using)


def advances(alias: str, *, gap: int = GAP) -> list[Advance]:
    """How far the sequence of each model of parents_on() has come, and how far it has to: `gap` beyond the highest id
    in the table, in any field of any database that points there, and in any tombstone.

    Raises NotSupportedError for an engine other than PostgreSQL and SQLite, and the error of a database that does not
    answer: without it nobody knows which id is the highest.
    """
    return [
        Advance(model, _last(model, connections[alias]), _highest(model, alias) + gap)
        for model in parents_on(alias)
        if isinstance(model._meta.pk, IntegerField)
    ]


def advance_keys(alias: str, *, gap: int = GAP) -> list[Advance]:
    """Move these sequences forward, as the tables' owner; returns those that were behind. Never moves one back."""
    due = [each for each in advances(alias, gap=gap) if each.is_due]
    with as_owner(alias) as connection:
        for each in due:
            _advance(each, connection)
    return due


def _pointing_at(model: type[Model]) -> list[CrossDatabaseForeignKey]:
    return [field for field in fields_to(model) if field.target_field.primary_key]


def _highest(model: type[Model], alias: str) -> int:
    columns = [(field.model, field.attname, place) for field in _pointing_at(model) for place in places(field.model)]
    found = [
        rows._base_manager.using(place).aggregate(highest=Max(name))["highest"]
        for rows, name, place in [(model, "pk", alias), *columns]
    ]
    for place in outboxes():
        stones = Tombstone.objects.using(place).filter(parent=label_of(model))
        found.append(stones.aggregate(highest=Max(Cast("key", BigIntegerField())))["highest"])
    return max(each or 0 for each in found)


def _last(model: type[Model], connection: BaseDatabaseWrapper) -> int:
    if connection.vendor not in LAST:
        raise NotSupportedError(
            f"{connection.alias} is on {connection.vendor}, whose counters this does not move. Set AUTO_INCREMENT of "
            f"{model._meta.db_table} beyond the highest id that other databases hold."
        )
    with connection.cursor() as cursor:
        cursor.execute(LAST[connection.vendor], _names(model, connection))
        row = cursor.fetchone()
    return row[0] or 0 if row else 0


def _advance(step: Advance, connection: BaseDatabaseWrapper) -> None:
    table = step.model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(ADVANCE, [step.least, *_names(step.model, connection)])
            return
        cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", [step.least, table])
        if not cursor.rowcount:
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, step.least])


def _names(model: type[Model], connection: BaseDatabaseWrapper) -> list[str]:
    """The table, as each engine wants it as text, and on PostgreSQL its column."""
    table = model._meta.db_table
    if connection.vendor != "postgresql":
        return [table]
    return [connection.ops.quote_name(table), str(model._meta.pk.column)]
