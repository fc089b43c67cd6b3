"""What waits in the outbox of a database, for people."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.template.defaultfilters import pluralize

from apps.outbox.publishing import sources
from apps.outbox.selectors import Backlog


def senders() -> tuple[str, ...]:
    """The aliases from which messages are sent; none while one of them has an engine that cannot be loaded."""
    try:
        return sources()
    except ImproperlyConfigured:
        return ()


@dataclass(frozen=True)
class Messages:
    """A backlog, whose numbers are None where it could not be counted, or not in time."""

    backlog: Backlog

    @property
    def is_known(self) -> bool:
        return self.backlog.waiting is not None

    @property
    def waiting(self) -> str:
        return f"{self.backlog.waiting or 0:,}"

    @property
    def dead(self) -> str:
        return f"{self.backlog.dead or 0:,}"

    @property
    def oldest(self) -> str:
        """For how long the oldest has waited: "0:00:12", "2 days, 1:02:03"; empty when none waits."""
        return "" if self.backlog.oldest is None else str(timedelta(seconds=int(self.backlog.oldest)))

    @property
    def remark(self) -> str:
        """What is wrong with them, in words; empty when nothing is known to be."""
        found = [f"{self.dead} dead letter{pluralize(self.backlog.dead)}"] if self.backlog.dead else []
        is_late = (self.backlog.oldest or 0) > settings.OUTBOX_LATE_SECONDS
        return ", ".join([*found, "messages are late"] if is_late else found)

    def __str__(self) -> str:
        """ "none", "3 for 0:00:12", "3 for 0:00:12, 1 dead" or "unknown"."""
        if not self.is_known:
            return "unknown"
        waiting = f"{self.waiting} for {self.oldest}" if self.backlog.waiting else "none"
        return f"{waiting}, {self.dead} dead" if self.backlog.dead else waiting

    def as_dict(self) -> dict[str, Any]:
        return {"waiting": self.backlog.waiting, "oldest_seconds": self.backlog.oldest, "dead": self.backlog.dead}
