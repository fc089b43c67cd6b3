"""Events on their way to the analytics database, which may be slow or down without a visitor noticing.

A page appends to a queue in its own process; one daemon thread writes the queue in batches. What this loses:

- everything that waits, when the process is killed; a normal exit gets two seconds to write it;
- the oldest events, once LIMIT of them wait;
- a row that the database refuses while it takes others.

A connection that breaks in the middle of a COMMIT may leave a batch written twice.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress

from django.conf import settings
from django.db import connections, router, transaction
from django.db.models import Model

from apps.analytics.models import AnalyticsEvent

LIMIT = 10_000
BATCH = 500
# Seconds: between two writes, the longest wait while the database is down, between two looks at an idle connection,
# until a write that has not come back counts as no answer, and for the last write of a process.
INTERVAL = 0.2
LONGEST_DELAY = 5.0
IDLE = 60.0
PATIENCE = 1.0
LAST_WRITE = 2.0

logger = logging.getLogger(__name__)


class Recorder:
    """A bounded queue of unsaved rows, and the thread that writes them: one for each process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything. A forked child begins with this: its queue is a copy, which the parent will write."""
        self._lock = threading.Lock()  # held for moments only, never while a database is asked
        self._writing = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._queue: deque[Model] = deque()
        self._held: deque[Model] = deque()  # the batch that is being written
        self._dropped = 0
        self._failing = False
        self._writing_since: float | None = None

    @property
    def waiting(self) -> int:
        """How many rows are not yet known to be written."""
        return len(self._queue) + len(self._held)

    @property
    def in_outage(self) -> bool:
        """Whether the last write failed, or the one that is under way has hung for more than a moment."""
        since = self._writing_since
        return self._failing or (since is not None and time.monotonic() - since > PATIENCE)

    def record(self, *rows: Model) -> None:
        """Queue unsaved rows. Asks no database, waits for none and does not raise."""
        with self._lock:
            overflow = len(self._queue) + len(rows) - LIMIT
            for _ in range(overflow):
                self._queue.popleft()
            self._queue.extend(rows)
            first_loss = overflow > 0 and not self._dropped
            self._dropped += max(0, overflow)
        if first_loss:
            logger.error("More than %d events wait; the oldest are dropped from now on.", LIMIT, extra=_extra())
        if getattr(settings, "ANALYTICS_RECORDER_THREAD", True):
            self._ensure_thread()
        self._wake.set()

    def flush(self) -> bool:
        """Write what waits, on this thread. Returns False when the database does not take it; it is kept then."""
        with self._writing:
            try:
                while self._take():
                    self._writing_since = time.monotonic()
                    self._deliver()
            except Exception as error:
                self._note_outage(error)
                return False
            finally:
                self._writing_since = None
                _let_go_of_broken_connection()
            self._note_recovery()
            return True

    def close(self) -> None:
        """Have the thread write what waits and end; wait for that, but not for long."""
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join(LAST_WRITE)
            if self.waiting:
                logger.error("The process ends with %d events unwritten; they are lost.", self.waiting, extra=_extra())

    def _ensure_thread(self) -> None:
        # RuntimeError: no more threads, or the interpreter is shutting down. The next event tries again.
        with self._lock, suppress(RuntimeError):
            if not (self._thread and self._thread.is_alive()):
                thread = threading.Thread(target=self._run, name="analytics recorder", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        delay = INTERVAL
        while not self._stop.wait(delay):
            # An outage is tried again by the clock, not when the next event comes.
            if not self._failing:
                self._wake.wait(IDLE)
                self._wake.clear()
            delay = INTERVAL if self.flush() else min(delay * 2, LONGEST_DELAY)
        self.flush()
        connections[_alias()].close()

    def _take(self) -> bool:
        with self._lock:
            while self._queue and len(self._held) < BATCH:
                self._held.append(self._queue.popleft())
        return bool(self._held)

    def _deliver(self) -> None:
        """Write the batch; row by row, without those that are refused, if it fails while the database is well."""
        try:
            _insert(list(self._held))
        except Exception:
            _check_database()
        else:
            self._held.clear()
        while self._held:
            _insert_or_drop(self._held[0])
            self._held.popleft()

    def _note_outage(self, error: Exception) -> None:
        if not self._failing:
            reason = " ".join(str(error).split())  # drivers break lines
            logger.error("No event can be written, trying again: %s: %s", type(error).__name__, reason, extra=_extra())
        self._failing = True

    def _note_recovery(self) -> None:
        if self._failing or self._dropped:
            logger.warning("Events are written again; %d were dropped meanwhile.", self._dropped, extra=_extra())
        self._failing, self._dropped = False, 0


def _alias() -> str:
    return router.db_for_write(AnalyticsEvent)


def _extra() -> dict[str, str]:
    return {"alias": _alias()}


def _let_go_of_broken_connection() -> None:
    connection = connections[_alias()]
    if not connection.in_atomic_block:  # a transaction of whoever called flush() would be lost with it
        connection.close_if_unusable_or_obsolete()


def _insert(rows: list[Model]) -> None:
    """All or none of the rows."""
    with transaction.atomic(using=_alias()):
        for model in dict.fromkeys(type(row) for row in rows):
            batch = [row for row in rows if type(row) is model]
            for row in batch:
                row.pk = None  # an attempt that was rolled back leaves the keys it was given
            model._default_manager.using(_alias()).bulk_create(batch)


def _check_database() -> None:
    """Write a harmless event and take it back: raises when it is the database that fails, and not a row."""
    _let_go_of_broken_connection()
    with transaction.atomic(using=_alias()):
        AnalyticsEvent.objects.using(_alias()).create(event_type="check")
        transaction.set_rollback(True, using=_alias())


def _insert_or_drop(row: Model) -> None:
    try:
        _insert([row])
    except Exception as error:
        _check_database()
        # Not the message: it may quote the row.
        reason = type(error).__name__
        logger.error("A row of %s is refused and dropped: %s.", row._meta.label, reason, extra=_extra())


recorder = Recorder()
os.register_at_fork(after_in_child=recorder.reset)
atexit.register(recorder.close)
