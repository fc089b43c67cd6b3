"""What ought to follow from rows in another database, and does not: orphans, and copies that are missing or differ.

Raw SQL and a restored backup tell nobody. So all relations are gone through, in the order of their ids and a batch at
a time, while everybody goes on writing: the order of the questions keeps a row in motion from being found broken.

- A child is read before its parent. The other way round, a child that was written in between, with its parent, would be
  an orphan.
- Messages are read before the rows are read once more. What is not on its way then has arrived, and shows in the rows.
- Copies are mended by the message that tells of a change, which is one more in the order of its key. Written from here,
  a copy could be older than what the relay has just brought.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Count, Model, QuerySet
from django.utils.module_loading import autodiscover_modules

from apps.outbox.models import Message
from apps.outbox.publishing import sources
from apps.outbox.registry import handlers_of
from apps.outbox.tombstones import key_of, tombstone
from routers.relations import KEEP, CrossDatabaseForeignKey, carry_out, chunks, places
from routers.scopes import using_primary
from routers.topology import topology

Row = Mapping[str, Any]
# Of each kind so many ids are named.
EXAMPLES = 20
# What is wrong; what is not, or not yet; and what a dead letter holds up, which nothing overtakes.
BROKEN = ("orphans", "missing", "differing")
KINDS = (*BROKEN, "stuck", "on the way", "kept")


class NoParents(Exception):
    """Every row of a table would be an orphan, because there is nothing where their parents are looked for."""


@dataclass(frozen=True)
class Copies:
    originals: Callable[[Collection[Any]], Iterable[Row]]
    resend: Callable[[Collection[Any]], object]


_copies: dict[str, Copies] = {}


def register_copies(
    model: type[Model],
    field: str,
    *,
    originals: Callable[[Collection[Any]], Iterable[Row]],
    resend: Callable[[Collection[Any]], object],
) -> None:
    """Say that each row that this field can point at has its copy in `model`. Called in an app's module `reconciling`.

    `originals` takes some ids and gives what the copies of these should hold, by the names of their columns; who is to
    have no copy is left out. `resend` publishes, in one transaction, that these have changed; its handler has to be the
    one that takes the field's tombstone.
    """
    _copies[str(model._meta.get_field(field))] = Copies(originals, resend)


@dataclass(frozen=True)
class Relation:
    """A field that points into another database, in one of the databases that have its table."""

    field: CrossDatabaseForeignKey
    alias: str

    def __str__(self) -> str:
        return str(self.field)

    @property
    def policy(self) -> str:
        """What becomes of orphans. In a database that is not ours to write they are kept."""
        cluster = topology().cluster_of_alias(self.alias)
        return KEEP if cluster and cluster.read_only else self.field.policy

    @property
    def copies(self) -> Copies | None:
        return _copies.get(str(self))

    @property
    def key(self) -> str:
        return self.field.target_field.attname

    @property
    def rows(self) -> QuerySet[Any]:
        return self.field.model._base_manager.using(self.alias)

    @property
    def parents(self) -> list[QuerySet[Any]]:
        """On their primaries, of which a shared app has several."""
        return [self.field.related_model._base_manager.using(alias) for alias in places(self.field.related_model)]

    def pointing_at(self, keys: Collection[Any]) -> Iterator[QuerySet[Any]]:
        """The rows that point at these, a chunk at a time."""
        return (self.rows.filter(**{f"{self.field.name}__in": chunk}) for chunk in chunks(keys, self.alias))

    def without_parent(self, keys: Collection[Any]) -> set[Any]:
        gone = set(keys)
        for parents in self.parents:
            for chunk in chunks(gone, parents.db):
                gone.difference_update(parents.filter(**{f"{self.key}__in": chunk}).values_list(self.key, flat=True))
        return gone


@dataclass
class Found:
    """How often what of KINDS was found; under `fields` the names of those in which copies differ.

    `checked` counts ids, the others count rows of the relation's table.
    """

    relation: Relation
    checked: int = 0
    mended: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Any]] = field(default_factory=dict)

    def note(self, kind: str, key: Any, rows: int = 1) -> None:
        self.counts[kind] += rows
        named = self.examples.setdefault(kind, [])
        if len(named) < EXAMPLES:
            named.append(key)

    @property
    def left(self) -> int:
        """How many are broken or stuck, and not mended."""
        broken = sum(self.counts[kind] for kind in BROKEN)
        # What has come since it was counted may have been mended, too.
        return max(broken - self.mended, 0) + self.counts["stuck"]


def relations() -> list[Relation]:
    """All of the project, as its models have them."""
    autodiscover_modules("reconciling")
    fields = (each for model in apps.get_models() for each in model._meta.local_fields)
    found = [each for each in fields if isinstance(each, CrossDatabaseForeignKey)]
    return [Relation(each, alias) for each in found for alias in places(each.model)]


class Reconciliation:
    """Looks at one relation, and with `fix` mends it. `found` is complete when run() has ended."""

    def __init__(self, relation: Relation, *, fix: bool = False, batch_size: int = 500) -> None:
        self.relation, self.fix, self.batch_size = relation, fix, batch_size
        self.found = Found(relation)

    def run(self) -> Iterator[int]:
        """A batch at a time; yields how many ids it had. Raises NoParents instead of mending."""
        relation = self.relation
        for keys in _batches(relation.rows, relation.field.attname, self.batch_size):
            self._look_for_orphans(keys)
            yield self._count(keys)
        if relation.copies:
            for parents in relation.parents:
                for keys in _batches(parents, relation.key, self.batch_size):
                    self._compare(relation.copies, keys)
                    yield self._count(keys)

    def _count(self, keys: Collection[Any]) -> int:
        self.found.checked += len(keys)
        return len(keys)

    def _look_for_orphans(self, keys: Collection[Any]) -> None:
        if not (gone := self.relation.without_parent(keys)):
            return
        verdict = self._under_way(gone) if self.relation.policy != KEEP else dict.fromkeys(gone, "kept")
        orphans = []
        for rows in self.relation.pointing_at(gone):
            # Once more: what was on its way a moment ago may have arrived.
            for key, number in rows.values_list(self.relation.field.attname).annotate(Count("pk")).order_by():
                kind = verdict.get(key, "orphans")
                self.found.note(kind, key, number)
                if kind == "orphans":
                    orphans.append(key)
        if self.fix and orphans:
            self._carry_out(orphans)

    def _carry_out(self, orphans: Collection[Any]) -> None:
        relation = self.relation
        if not any(parents.exists() for parents in relation.parents):
            raise NoParents(
                f"Nothing of {relation} was mended: {relation.field.related_model._meta.db_table} on "
                f"{' and '.join(parents.db for parents in relation.parents)} has no rows at all. If that is the wrong "
                f"database, or one that is not restored yet, put that right; else delete the rows on {relation.alias}."
            )
        still = relation.without_parent(orphans)
        self.found.mended += carry_out(relation.field, still, using=relation.alias, batch_size=self.batch_size)

    def _compare(self, copies: Copies, keys: Collection[Any]) -> None:
        before = self._originals(copies, keys)
        if not (suspects := self._differences(before)):
            return
        verdict = self._under_way(suspects)
        differences = self._differences({key: before[key] for key in suspects})
        after = self._originals(copies, differences)
        broken = []
        for key, names in differences.items():
            # One that has just changed has a message of its own.
            kind = verdict.get(key) or ("on the way" if after.get(key) != before[key] else "")
            self.found.note(kind or ("missing" if names is None else "differing"), key)
            if not kind:
                self.found.fields.update(names or ())
                broken.append(key)
        if self.fix and broken:
            copies.resend(broken)
            self.found.mended += len(broken)

    def _originals(self, copies: Copies, keys: Collection[Any]) -> dict[Any, Row]:
        with using_primary():
            parts = [copies.originals(chunk) for chunk in chunks(keys, self.relation.parents[0].db)]
            return {row[self.relation.field.attname]: row for part in parts for row in part}

    def _differences(self, originals: Mapping[Any, Row]) -> dict[Any, list[str] | None]:
        """The names of the fields by id, None where there is no copy."""
        found: dict[Any, list[str] | None] = dict.fromkeys(originals)
        names = list(next(iter(originals.values()), ()))
        for rows in self.relation.pointing_at(originals):
            for copy in rows.values(*names):
                key = copy[self.relation.field.attname]
                found[key] = [name for name in names if copy[name] != originals[key][name]]
        return {key: names for key, names in found.items() if names is None or names}

    def _under_way(self, keys: Collection[Any]) -> dict[Any, str]:
        """Those of whom a message waits: "on the way", or "stuck" behind a dead letter."""
        model = self.relation.field.related_model
        names = [each.name for each in handlers_of(tombstone(self.relation.field.model, self.relation.field.name))]
        by_key = {key_of(model, key): key for key in keys}
        verdict: dict[Any, str] = {}
        for alias in set(places(model)) & set(sources()):
            waiting = Message.objects.using(alias).filter(done_at=None, handler__in=names)
            for chunk in chunks(by_key, alias):
                for key, dead_at in waiting.filter(key__in=chunk).values_list("key", "dead_at"):
                    verdict[by_key[key]] = "stuck" if dead_at else verdict.get(by_key[key], "on the way")
        return verdict


def _batches(rows: QuerySet[Any], name: str, size: int) -> Iterator[list[Any]]:
    """The ids that a column holds, each once and in order."""
    left = ids = rows.filter(**{f"{name}__isnull": False}).order_by(name).values_list(name, flat=True).distinct()
    while batch := list(left[:size]):
        yield batch
        left = ids.filter(**{f"{name}__gt": batch[-1]})
