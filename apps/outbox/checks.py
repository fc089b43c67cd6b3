"""System checks: an outbox on an engine without one, a destination without receipts, a retention that is too short."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from apps.outbox.publishing import sources
from apps.outbox.registry import handlers, outboxes


def check_outbox(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """outbox.E001 to E003. Asks no database."""
    return [*_engines(), *_destinations(), *_retention()]


def _engines() -> Iterator[CheckMessage]:
    for alias in outboxes():
        if alias not in sources():
            yield Error(
                f"{alias} has an outbox, but its engine is neither PostgreSQL nor SQLite.",
                hint="Take its cluster out of SHARED_APPS. If it only receives messages, silence this check: receipts "
                "work on every engine.",
                obj=alias,
                id="outbox.E001",
            )


def _destinations() -> Iterator[CheckMessage]:
    for each in handlers.values():
        if each.alias not in outboxes():
            yield Error(
                f"The outbox handler {each.name!r} writes to {each.alias}, which has no table of receipts.",
                hint=f"Add the cluster of {each.alias} to SHARED_APPS['outbox'], or correct the handler's destination.",
                obj=each.name,
                id="outbox.E002",
            )


def _retention() -> Iterator[CheckMessage]:
    kept, oldest = settings.OUTBOX_RETENTION_DAYS, settings.BACKUP_MAX_AGE_DAYS
    if kept <= oldest:
        yield Error(
            f"Delivered messages are kept for {kept} days (OUTBOX_RETENTION_DAYS), backups for {oldest} "
            "(BACKUP_MAX_AGE_DAYS).",
            hint="Keep messages longer: what a database restored from the oldest backup lacks is delivered to it anew.",
            id="outbox.E003",
        )
