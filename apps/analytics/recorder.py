"""Events on their way to the analytics database, which may be slow or down without a visitor noticing.

What has happened is written to the outbox of a database that is local to the machine: one INSERT, that waits for no
network and outlives the process. The relay takes it to analytics, in batches (apps.analytics.handlers).
"""

import logging
import os
import time
from threading import Lock
from typing import Any

from django.db import Error, transaction

from apps.outbox.publishing import publish
from apps.outbox.registry import declare_topic
from routers.topology import topology
from routers.transactions import writing_on_safe_request

RECORDED = declare_topic("analytics.recorded")
# The app whose database is on this machine.
LOCAL_APP = "cache"
# Seconds for which a database that has refused an event, maybe after a long wait, is not asked again.
PAUSE = 5.0
REASON = "a page view that is counted twice, or a robot's, changes nothing that anybody has"

logger = logging.getLogger(__name__)


class Recorder:
    """Puts events into the outbox. What the local database does not take is lost, and counted."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A forked child begins with this: another thread of its parent may have held the lock."""
        self._lock = Lock()
        self._paused_until = 0.0
        self.lost = 0

    def record(self, payload: dict[str, Any]) -> bool:
        """Returns whether the event is kept: no failure of the database is raised, and one that has just failed is not
        asked. Raises ValueError for a payload that is not JSON."""
        if time.monotonic() < self._paused_until:
            self._count_loss()
            return False
        alias = outbox()
        try:
            with writing_on_safe_request(reason=REASON), transaction.atomic(using=alias):
                publish(RECORDED, payload, using=alias)
        except Error as error:
            self._paused_until = time.monotonic() + PAUSE
            if self._count_loss() == 1:
                reason = type(error).__name__
                logger.error("Events are lost until %s can be written (%s).", alias, reason, extra={"alias": alias})
            return False
        if self.lost and (lost := self._forget_losses()):
            logger.warning("Events are recorded again; %d were lost.", lost, extra={"alias": alias})
        return True

    def _count_loss(self) -> int:
        with self._lock:
            self.lost += 1
            return self.lost

    def _forget_losses(self) -> int:
        with self._lock:
            lost, self.lost = self.lost, 0
            return lost


def outbox() -> str:
    """The alias of the outbox that events are put into."""
    (cluster,) = topology().clusters_of_app(LOCAL_APP)
    return cluster.primary


recorder = Recorder()
os.register_at_fork(after_in_child=recorder.reset)
