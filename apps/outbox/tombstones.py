"""What becomes of rows that point at a deleted one from another database: a message, in the transaction of the delete.

Each field has a topic of its own, and a handler that does what the field's policy says; unless an app takes the topic
itself, because it has to be in order with other messages:

    @handler(SAVED, tombstone(UserProfile, "user"), name="blog.copy_profiles", destination=UserProfile)
    def copy_profiles(payload): ...

Each database that is told keeps a Tombstone. What comes another way, and so maybe later, is left out by buried().

A delete that travels as other data does is a tombstone in stores that replicate, such as Cassandra.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.models import Model, Q, QuerySet

from apps.outbox.models import Message, Tombstone
from apps.outbox.publishing import publish
from apps.outbox.registry import declare_topic, handler, handlers, handlers_of, outboxes
from routers.relations import KEEP, CrossDatabaseForeignKey, carry_out, chunks
from routers.signals import referenced_row_deleted

# From what is over to what is worst.
STATES = ("done", "waiting", "failing", "discarded", "dead")
# Whoever asks and whoever buries wait for each other's transactions; those who ask do not. (A transaction on SQLite is
# alone anyway. On MySQL, what is written while a tombstone comes is left to reconcile.)
LOCK = "SELECT pg_advisory_xact_lock{}(hashtextextended(%s, 0))"


def key_of(model: type[Model], pk: Any) -> str:
    """The key of all messages about this row, so that its deletion stays the last of them."""
    return f"{model._meta.label_lower} {pk}"


def tombstone(model: type[Model], field: str) -> str:
    """The topic by which this field hears of deletions: {"id": …} of the row that is gone, under its key.

    Raises FieldDoesNotExist.
    """
    return declare_topic(f"outbox.tombstone {model._meta.get_field(field)}")


def connect() -> None:
    """Have deletions published, and give a handler to each field whose topic nobody has taken. Called when all have."""
    for field in _fields_with_policy():
        topic = tombstone(field.model, field.name)
        if not handlers_of(topic):
            handler(topic, name=topic, destination=field.model, batch=True)(partial(_carry_out, field))
    referenced_row_deleted.connect(publish_tombstone, dispatch_uid="outbox.tombstones")


def publish_tombstone(*, field: CrossDatabaseForeignKey, pk: Any, using: str, **kwargs: Any) -> None:
    """Receiver of referenced_row_deleted. Where `using` has no outbox it raises NoOutbox, and nothing is deleted."""
    if field.policy != KEEP:
        payload = {"id": pk if isinstance(pk, int) else str(pk)}
        publish(tombstone(field.model, field.name), payload, key=key_of(field.related_model, pk), using=using)


def bury(model: type[Model], pks: Collection[Any], *, using: str) -> None:
    """Note on `using`, in the transaction that is open there, that these rows are gone. Once more does no harm.

    Comes before buried() in a transaction that has both, or two of them may wait for each other.
    """
    if pks:
        _lock(model, using, shared=False)
        stones = [Tombstone(parent=label_of(model), key=str(pk)) for pk in pks]
        Tombstone.objects.using(using).bulk_create(stones, ignore_conflicts=True, batch_size=500)


def buried(model: type[Model], pks: Collection[Any], *, using: str) -> set[Any]:
    """Those of these ids whose rows are gone, as far as `using` has been told.

    Asked in the transaction that writes what names them, nobody is buried before its end.
    """
    if not pks:
        return set()
    _lock(model, using, shared=True)
    return noted(model, pks, using=using)


def noted(model: type[Model], pks: Collection[Any], *, using: str) -> set[Any]:
    """The same for whoever only looks: without waiting."""
    by_key = {str(pk): pk for pk in pks}
    stones = Tombstone.objects.using(using).filter(parent=label_of(model))
    found = (stones.filter(key__in=chunk).values_list("key", flat=True) for chunk in chunks(by_key, using))
    return {by_key[key] for keys in found for key in keys}


def label_of(model: type[Model]) -> str:
    """What tombstones of its rows hold as `parent`."""
    return model._meta.concrete_model._meta.label_lower  # type: ignore[union-attr]  # None for abstract ones only


def progress(model: type[Model], pk: Any, *, since: datetime, using: str) -> dict[str, str]:
    """How far what was published of this row on `using` has come since its deletion, by the alias that it goes to.

    One of STATES, the worst of the alias's handlers. "done" says that nothing more is to come. While something waits
    for a handler that this code does not have, nobody knows where that would go, so no alias is done.
    """
    by_handler: dict[str, str] = {}
    for message in _published(key_of(model, pk), since=since, using=using):
        before = by_handler.get(message.handler, "done")
        # What waits may do so because of what failed before it.
        waits_for_it = not message.done_at and before in ("failing", "dead")
        by_handler[message.handler] = before if waits_for_it else message.state
    strangers = [state for name, state in by_handler.items() if name not in handlers]
    by_alias = dict.fromkeys(outboxes(), "waiting") if set(strangers) - {"done", "discarded"} else {}
    for name in by_handler.keys() & handlers.keys():
        alias = handlers[name].alias
        by_alias[alias] = max(by_alias.get(alias, "done"), by_handler[name], key=STATES.index)
    return by_alias


def _published(key: str, *, since: datetime, using: str) -> QuerySet[Message]:
    # As two of the table's indexes have it: there is none that finds a key among all that is done.
    recent = Q(done_at=None, handler__in=list(_unfinished(using))) | Q(done_at__gte=since)
    return Message.objects.using(using).filter(recent, key=key).order_by("pk")


def _unfinished(using: str) -> Iterator[str]:
    """The handlers for which something waits, with one look into the index for each, however much it is."""
    names = Message.objects.using(using).filter(done_at=None).order_by("handler").values_list("handler", flat=True)
    left = names
    while found := list(left[:1]):
        yield from found
        left = names.filter(handler__gt=found[0])


def _fields_with_policy() -> Iterator[CrossDatabaseForeignKey]:
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, CrossDatabaseForeignKey) and field.policy != KEEP:
                yield field


def follow(field: CrossDatabaseForeignKey, pks: Collection[Any], *, using: str) -> None:
    """What a handler of tombstone() does: bury the rows, and do what the field's policy says, in one transaction."""
    if field.target_field.primary_key:
        bury(field.related_model, pks, using=using)
    carry_out(field, pks, using=using)


def _carry_out(field: CrossDatabaseForeignKey, payloads: list[Mapping[str, Any]]) -> None:
    follow(field, [payload["id"] for payload in payloads], using=router.db_for_write(field.model))


def _lock(model: type[Model], using: str, *, shared: bool) -> None:
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(LOCK.format("_shared" if shared else ""), [f"outbox tombstone {label_of(model)}"])
