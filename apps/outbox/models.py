"""Messages on their way to another database, in each database that sends some; receipts and tombstones where they have
arrived."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

NAME_LENGTH = 100
KEY_LENGTH = 200
LABEL_LENGTH = 100


class Message(models.Model):
    """One handler's copy of what was published, in the database of the transaction that it is part of.

    Each handler has a row of its own, and with it its own progress, delays and dead letters: a destination that is down
    holds up no other. `uid` is what receipts name, because after a restore an id may be given out again.
    """

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    topic = models.CharField(max_length=NAME_LENGTH)
    handler = models.CharField(max_length=NAME_LENGTH)
    key = models.CharField(max_length=KEY_LENGTH, blank=True)
    payload = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now)
    # None is at once, whatever the clocks of the machines say.
    due_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    dead_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # The small part of the table that is not done: what may be next, what came before it, and what was put off or
        # given up, which may be in the way of the rest of its key.
        indexes = (
            models.Index(fields=["id"], name="outbox_waiting", condition=Q(done_at=None, dead_at=None)),
            models.Index(fields=["handler", "key", "id"], name="outbox_unfinished", condition=Q(done_at=None)),
            models.Index(
                fields=["handler", "key"], name="outbox_held", condition=Q(done_at=None, due_at__isnull=False)
            ),
            models.Index(fields=["done_at"], name="outbox_done", condition=Q(done_at__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.topic} for {self.handler}"

    @property
    def state(self) -> str:
        """ "waiting", "failing" (it is tried again), "dead" (no more), "done", or "discarded" by somebody."""
        if self.dead_at:
            return "discarded" if self.done_at else "dead"
        return "done" if self.done_at else "failing" if self.attempts else "waiting"


class Receipt(models.Model):
    """A message that has had its effect here: written in the same transaction as the effect."""

    uid = models.UUIDField(primary_key=True)
    handler = models.CharField(max_length=NAME_LENGTH)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.uid} for {self.handler}"


class Tombstone(models.Model):
    """A row of another database that this one has been told is gone: its id, and nothing else of it, for good.

    So nothing that was on its way for longer, and no backup, brings back here what the deletion has erased.
    """

    parent = models.CharField(max_length=LABEL_LENGTH)
    key = models.CharField(max_length=KEY_LENGTH)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["parent", "key"], name="outbox_tombstone_of_row"),)

    def __str__(self) -> str:
        return f"{self.parent} {self.key}"
