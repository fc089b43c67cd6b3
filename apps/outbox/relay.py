"""Takes messages from the databases that send them to those in which they shall have their effect.

A claim is row locks, held by the transaction on the source until the messages are marked and freed by its death: no
leases, and no cursor of the form `id > last_seen`, which loses what is committed late. On SQLite, where a transaction
would keep every writer waiting, a lock file elects the one relay instead. Effect and receipt commit together in the
destination, so whatever dies in between, a message that is delivered again has no effect again.
"""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import reduce
from itertools import groupby
from operator import attrgetter, or_
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from apps.outbox.failures import describe
from apps.outbox.models import Message, Receipt
from apps.outbox.publishing import sources
from apps.outbox.registry import handlers, handlers_on
from routers.errors import alias_of, is_full, is_outage
from routers.health import is_down, prober
from routers.sqlite import file_of
from routers.transactions import crossing_databases

# How many messages one transaction takes, and in how many of the oldest at a time it looks for those that may be next.
BATCH, WINDOW = 100, 500
# Seconds.
LONGEST_DELAY = 300
PAUSE_IN_TROUBLE = 1.0
# For a message whose handler asks a third database that does not serve.
PAUSE_FOR_THIRD = 5.0
HEARTBEAT = 1.0
# A lane that has not come round for so long is stuck, or its thread is dead.
LONGEST_BATCH = 60.0
REASON = "what was done in the destination and could not be marked in the source is recognised by its receipt"

# A handler, and a key of its or a message without one: what waits in it goes one after the other.
Turn = tuple[str, str | int]

logger = logging.getLogger(__name__)


class Unavailable(Exception):
    """A database that the messages need did not serve, which says nothing about the messages."""


class Outcome(NamedTuple):
    """How many messages were delivered and how many failed, and the ids of those that wait for a third database."""

    delivered: int = 0
    failed: int = 0
    waiting: frozenset[int] = frozenset()


class Drained(NamedTuple):
    """How many messages were delivered and how often one failed, and the lanes on which a database did not answer."""

    delivered: int
    failed: int
    unavailable: list[str]


class Lane:
    """The way from one database to another. Lanes share nothing, so that none waits for another one's destination."""

    def __init__(self, source: str, destination: str) -> None:
        self.source, self.destination = source, destination
        self._in_trouble = False
        # Handlers, and what they wait for, of which the log has it already.
        self._noted: set[tuple[str, str]] = set()
        self._came_round = time.monotonic()

    def __str__(self) -> str:
        return f"{self.source} to {self.destination}"

    def deliver(self) -> Outcome:
        """One batch of what is due. Raises Unavailable, and then nothing counts as tried."""
        self._done: list[Message] = []
        self._failed: list[tuple[Message, Exception]] = []
        self._waiting: list[tuple[Message, str]] = []
        with self._claimed() as messages, crossing_databases(reason=REASON):
            if messages:
                self._try(messages)
                self._mark()
        self._note_waiting()
        return Outcome(len(self._done), len(self._failed), frozenset(message.pk for message, _ in self._waiting))

    def step(self) -> float:
        """One batch, whatever happens; returns for how many seconds to wait before the next one."""
        try:
            if is_down(self.source) or is_down(self.destination):
                return PAUSE_IN_TROUBLE
            found = any(self.deliver())
        except Exception as error:
            self.note_trouble(error)
            return PAUSE_IN_TROUBLE
        if self._in_trouble:
            logger.info("Messages go from %s again.", self)
        self._in_trouble = False
        return 0 if found else settings.OUTBOX_POLL_MS / 1000

    def run(self, stopping: Event) -> None:
        """One batch after the other, until it is told to stop; the batch in hand is finished."""
        try:
            while not stopping.is_set():
                pause = self.step()
                # A handler may have opened more than ours.
                for connection in connections.all(initialized_only=True):
                    connection.close_if_unusable_or_obsolete()
                self._came_round = time.monotonic()
                stopping.wait(pause)
        finally:
            connections.close_all()

    @property
    def is_moving(self) -> bool:
        return time.monotonic() - self._came_round < LONGEST_BATCH

    @contextmanager
    def _claimed(self) -> Iterator[list[Message]]:
        if connections[self.source].features.has_select_for_update_skip_locked:
            with transaction.atomic(using=self.source):
                yield self._next(locked=True)
        else:
            with self._elected() as elected:
                yield self._next(locked=False) if elected else []

    @contextmanager
    def _elected(self) -> Iterator[bool]:
        file = file_of(connections[self.source].settings_dict["NAME"])
        if file is None:  # in memory, where no other process can reach it
            yield True
            return
        path = file.with_name(f"{file.name}.outbox-{self.destination}.lock")
        path.touch(mode=0o600)
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _next(self, *, locked: bool) -> list[Message]:
        """The first message of each key, unless another relay has it; and what follows those in the same keys."""
        is_due, names = Q(due_at=None) | Q(due_at__lte=timezone.now()), list(handlers_on(self.destination))
        due = Message.objects.using(self.source).filter(is_due, done_at=None, dead_at=None, handler__in=names)
        before = Message.objects.filter(handler=OuterRef("handler"), key=OuterRef("key"), pk__lt=OuterRef("pk"))
        held = before.filter(done_at=None, due_at__isnull=False).exclude(key="")
        in_the_way = held.filter(~is_due | Q(dead_at__isnull=False))
        unseen = due.filter(~Exists(in_the_way)).order_by("pk")
        while oldest := list(unseen.values_list("pk", "handler", "key")[:WINDOW]):
            turns: dict[Turn, list[int]] = {}
            for pk, handler, key in oldest:
                turns.setdefault((handler, key or pk), []).append(pk)
            # Nothing that waits in a key is older than the first of it here, so whoever has locked that has the key.
            followers = {pks[0]: pks for pks in turns.values()}
            first = due.filter(pk__in=followers).order_by("pk")
            if locked:
                first = first.select_for_update(skip_locked=True)
            chosen = [pk for each in first.values_list("pk", flat=True)[:BATCH] for pk in followers[each]]
            if chosen:
                return list(due.filter(pk__in=sorted(chosen)[:BATCH]).order_by("handler", "pk"))
            # Others have all of these keys, of which there may be any number of messages.
            unseen = unseen.exclude(_of_keys(oldest)).exclude(key="", pk__lte=oldest[-1][0])
        return []

    def _try(self, messages: list[Message]) -> None:
        """Those that have failed or waited, or are refused now, come last and each alone: what it is that they do to a
        database, no other message has to wait for it."""
        self._held: set[Turn] = set()
        self._refused: list[Message] = []
        self._silent: set[str] = set()
        troubled = {_turn(each) for each in messages if each.attempts or each.due_at}
        self._apply([each for each in messages if _turn(each) not in troubled])
        first = {_turn(each): each for each in reversed(messages) if _turn(each) in troubled}
        first |= {_turn(each): each for each in self._refused}
        self._held -= first.keys()
        for each in first.values():
            self._apply([each], last=True)

    def _apply(self, messages: list[Message], *, last: bool = False) -> None:
        """All in one transaction; or, where that fails, each half, until the message is alone that fails by itself."""
        messages = [each for each in messages if _turn(each) not in self._held]
        if not messages:
            return
        try:
            self._commit(messages)
        except Exception as error:
            blamed = self._blamed(error)
            if len(messages) > 1:
                middle = len(messages) // 2
                self._apply(messages[:middle])
                self._apply(messages[middle:])
                return
            self._held.add(_turn(messages[0]))
            if blamed:
                self._waiting.append((messages[0], blamed))
            elif is_outage(error) and not last:
                self._refused += messages
            else:
                self._failed.append((messages[0], error))
        else:
            self._done += messages

    def _commit(self, messages: list[Message]) -> None:
        is_committed = False
        try:
            with self._undone_in_source():
                with transaction.atomic(using=self.destination):
                    self._take_effect(messages)
                is_committed = True
        except DatabaseError as error:
            if not is_committed or is_outage(error):
                raise
            names = ", ".join(sorted({each.handler for each in messages}))
            logger.warning("What %s did on %s is undone: a statement failed there.", names, self.source)

    def _undone_in_source(self) -> AbstractContextManager[object]:
        """A savepoint, because a statement that a handler fails to make there would abort the claim. Outside the
        destination's transaction, so that it is undone also where that one fails to commit."""
        has_claim = connections[self.source].in_atomic_block and self.source != self.destination
        return transaction.atomic(using=self.source) if has_claim else nullcontext()

    def _take_effect(self, messages: list[Message]) -> None:
        receipts = Receipt.objects.using(self.destination)
        uids = [message.uid for message in messages]
        known = set(receipts.filter(pk__in=uids).values_list("pk", flat=True))
        new = [message for message in messages if message.uid not in known]
        # Before the effect: who delivers the same at this moment, having lost its claim, waits here or fails.
        receipts.bulk_create([Receipt(uid=message.uid, handler=message.handler) for message in new])
        for name, group in groupby(new, key=attrgetter("handler")):
            handlers[name].call([message.payload for message in group])

    def _blamed(self, error: Exception) -> str | None:
        """The third database that does not serve, so that no message is to blame; None where one is. Raises
        Unavailable where it is one of the lane's own."""
        alias = alias_of(error) or self.destination
        if not is_outage(error) or not (alias in self._silent or is_full(error) or not _answers(alias)):
            return None
        if alias in (self.source, self.destination):
            raise Unavailable(f"No message could be taken from {self}.") from error
        self._silent.add(alias)
        return alias

    def _mark(self) -> None:
        now, rows = timezone.now(), Message.objects.using(self.source)
        with transaction.atomic(using=self.source, savepoint=False):
            rows.filter(pk__in=[message.pk for message in self._done]).update(done_at=now, error="")
            waiting = rows.filter(pk__in=[message.pk for message, _ in self._waiting])
            waiting.update(due_at=now + timedelta(seconds=PAUSE_FOR_THIRD))
            for message, error in self._failed:
                attempts, text = message.attempts + 1, describe(error, message.payload)
                dead = attempts >= settings.OUTBOX_MAX_ATTEMPTS
                due_at = now + timedelta(seconds=min(2**attempts, LONGEST_DELAY))
                rows.filter(pk=message.pk).update(
                    attempts=attempts, error=text, due_at=due_at, dead_at=now if dead else None
                )
                then = "is given up" if dead else "is tried again"
                logger.warning("%s %s after failure %d: %s", message, then, attempts, text)

    def _note_waiting(self) -> None:
        waiting = {(message.handler, alias) for message, alias in self._waiting}
        for name, alias in sorted(waiting - self._noted):
            logger.warning("Messages for %s wait on the way from %s: %s does not serve.", name, self, alias)
        gone_on = {message.handler for message in self._done if message.due_at}
        self._noted = {each for each in self._noted if each[0] not in gone_on} | waiting

    def note_trouble(self, error: Exception) -> None:
        if not is_outage(error):
            logger.error("Messages do not go from %s.", self, exc_info=error)
        elif not self._in_trouble:
            cause = error.__cause__ or error
            what = f"no room left on {alias_of(error)}" if is_full(error) else type(cause).__name__
            logger.warning("Messages wait on the way from %s (%s).", self, what)
        self._in_trouble = True


class Relay:
    """A lane from each source to each database that has handlers."""

    def __init__(self, *only: str) -> None:
        destinations = sorted({each.alias for each in handlers.values()})
        self.lanes = [Lane(source, each) for source in only or sources() for each in destinations]
        self.stopping = Event()

    def run(self, *, heartbeat: Path | None = None) -> None:
        """Deliver until somebody sets `stopping`, and the batches in hand are finished.

        The heartbeat is a file that is touched every second, while every lane is moving.
        """
        prober.ensure_started()
        threads = [Thread(target=lane.run, args=[self.stopping], name=f"outbox {lane}") for lane in self.lanes]
        threads.append(Thread(target=self._beat, args=[heartbeat], name="outbox heartbeat"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _beat(self, heartbeat: Path | None) -> None:
        while not self.stopping.wait(HEARTBEAT):
            if heartbeat and all(lane.is_moving for lane in self.lanes):
                heartbeat.touch()

    def drain(self) -> Drained:
        """Deliver all that is due, and what is published on the way, on this thread.

        Raises a DatabaseError that is no outage when the other lanes have delivered.
        """
        delivered = failed = 0
        stopped: dict[Lane, Exception] = {}
        waiting: dict[Lane, frozenset[int]] = {}
        moved = True
        while moved:
            moved = False
            for lane in self.lanes:
                outcome = _deliver(lane, stopped)
                delivered, failed = delivered + outcome.delivered, failed + outcome.failed
                before = waiting.get(lane, frozenset())
                # What waits again moves nothing, however slow it is.
                moved = moved or any(outcome[:2]) or not outcome.waiting <= before
                waiting[lane] = before | outcome.waiting
        for cause in stopped.values():
            if not is_outage(cause):
                raise cause
        return Drained(delivered, failed, [str(lane) for lane in self.lanes if lane in stopped or waiting[lane]])


def _deliver(lane: Lane, stopped: dict[Lane, Exception]) -> Outcome:
    """Nothing where the lane is in trouble, which is noted."""
    try:
        return Outcome() if lane in stopped else lane.deliver()
    except (Unavailable, DatabaseError) as error:
        lane.note_trouble(error)
        stopped[lane] = error
        return Outcome()


def _turn(message: Message) -> Turn:
    return message.handler, message.key or message.pk


def _of_keys(rows: list[tuple[int, str, str]]) -> Q:
    keys: dict[str, set[str]] = {}
    for _, handler, key in rows:
        keys.setdefault(handler, set()).add(key)
    return reduce(or_, (Q(handler=handler, key__in=found - {""}) for handler, found in keys.items()))


def _answers(alias: str) -> bool:
    connection = connections[alias]
    try:
        if not connection.in_atomic_block:  # a new one may get through
            connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
