"""Finds what databases have lost of each other, and mends it."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from apps.outbox.reconciling import KINDS, Found, NoParents, Reconciliation, Relation, relations
from apps.outbox.registry import outboxes
from apps.outbox.selectors import relays_seen_on
from apps.outbox.services import received_since, replay_since
from routers.errors import alias_of
from routers.relations import CASCADE, KEEP, SET_NULL

REMEDIES = {KEEP: "orphans stay", CASCADE: "orphans are deleted", SET_NULL: "orphans are set to NULL"}
SENT = ", copies are sent again"


class Command(BaseCommand):
    help = (
        "Goes through every relation between two databases: rows whose parent is gone, copies that are missing or "
        "differ. Changes nothing without --fix; exit status 1 if something is left to mend. With --replay-since: what "
        "a database received from that moment on is delivered to it once more, because it was restored."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fix", action="store_true", help="Mend what is found, or replay. The site may be running."
        )
        parser.add_argument("--relation", action="append", metavar="APP.MODEL.FIELD", help="Only this one. Repeatable.")
        parser.add_argument("--batch-size", type=_positive, default=500, metavar="IDS")
        parser.add_argument("--json", action="store_true", help="As JSON, with the first ids of each kind.")
        parser.add_argument("--replay-since", type=_moment, metavar="TIME", help="As 2026-11-20T03:00Z.")
        parser.add_argument("--database", choices=outboxes(), help="The one that was restored, for --replay-since.")

    def handle(self, **options: Any) -> None:
        if bool(options["replay_since"]) != bool(options["database"]):
            raise CommandError("--replay-since and --database go together: since when, and in which database.")
        if options["replay_since"]:
            self._replay(options["database"], options["replay_since"], fix=options["fix"])
        else:
            self._reconcile(**options)

    def _reconcile(self, *, fix: bool, batch_size: int, **options: Any) -> None:
        found, failed = [], []
        for relation in _chosen(options["relation"] or []):
            work = Reconciliation(relation, fix=fix, batch_size=batch_size)
            try:
                self._run(work)
            except (DatabaseError, NoParents) as error:
                failed.append(str(relation))
                where = alias_of(error) or relation.alias
                self.stderr.write(self.style.ERROR(f"{relation} ({where}): {str(error).strip()}"))
            else:
                found.append(work.found)
        self._show(found, as_json=options["json"])
        if failed:
            raise CommandError(f"Not done: {', '.join(failed)}, for the reason above. The other relations are.")
        _conclude(found, fix=fix)

    def _run(self, work: Reconciliation) -> None:
        columns = (TextColumn("{task.description}"), TextColumn("{task.completed} ids"))
        with Progress(*columns, console=Console(), transient=True, disable=not self.stdout.isatty()) as progress:
            task = progress.add_task(str(work.relation), total=None)
            for number in work.run():
                progress.advance(task, number)

    def _show(self, found: list[Found], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([_as_dict(each) for each in found], indent=2, default=str))
        elif self.stdout.isatty():
            Console().print(_table(found))
        else:
            for each in found:
                counts = [f"{each.counts[kind]} {kind}" for kind in KINDS]
                self.stdout.write("  ".join([str(each.relation), f"{each.checked} ids", *counts, _remedy(each)]))

    def _replay(self, alias: str, moment: datetime, *, fix: bool) -> None:
        _require_kept(moment)
        for source in relays_seen_on():
            text = f"A relay is connected to {source}. Stop it, or newer messages overtake those that {alias} has lost."
            self.stderr.write(self.style.WARNING(text))
        counts = (
            replay_since(alias, moment)
            if fix
            else {source: messages.count() for source, messages in received_since(alias, moment).items()}
        )
        for source, number in counts.items():
            self.stdout.write(f"{source} to {alias}: {number} messages {'are' if fix else 'would be'} delivered again")
        end = (
            "Start the relay; when it has delivered them: manage.py reconcile" if fix else "Nothing was changed: --fix"
        )
        self.stdout.write(end)


def _chosen(names: list[str]) -> list[Relation]:
    found = relations()
    for name in names:
        if name not in map(str, found):
            there = ", ".join(map(str, found)) or "none"
            raise CommandError(f"{name!r} is no relation between two databases. There are: {there}.")
    return [each for each in found if not names or str(each) in names]


def _conclude(found: list[Found], *, fix: bool) -> None:
    if stuck := sum(each.counts["stuck"] for each in found):
        raise CommandError(
            f"{stuck} rows wait behind dead letters. See manage.py outbox status, then replay or discard."
        )
    if left := sum(each.left for each in found):
        raise CommandError(
            f"{left} rows are broken. "
            + ("Run it again: they have changed meanwhile." if fix else "Mend them with --fix.")
        )


def _table(found: list[Found]) -> Table:
    table = Table("Relation", "Ids", *(kind.capitalize() for kind in KINDS), "With --fix")
    for each in found:
        cells = [str(each.relation), each.checked, *(each.counts[kind] or "" for kind in KINDS), _remedy(each)]
        table.add_row(*(Text(str(cell)) for cell in cells), style="red" if each.left else "")
    return table


def _remedy(found: Found) -> str:
    remedy = REMEDIES[found.relation.policy] + SENT * bool(found.relation.copies)
    if found.fields:
        remedy += f" (differing: {', '.join(sorted(found.fields))})"
    return remedy + f"; {found.mended} mended" * bool(found.mended)


def _as_dict(found: Found) -> dict[str, Any]:
    return {
        "relation": str(found.relation),
        "alias": found.relation.alias,
        "policy": found.relation.policy,
        "checked": found.checked,
        **{kind.replace(" ", "_"): found.counts[kind] for kind in KINDS},
        "fields": found.fields,
        "mended": found.mended,
        "ids": found.examples,
    }


def _require_kept(moment: datetime) -> None:
    now = timezone.now()
    kept = timedelta(days=settings.OUTBOX_RETENTION_DAYS)
    if moment > now:
        raise CommandError(f"--replay-since {moment.isoformat()} is yet to come. Name a moment before the backup's.")
    if moment < now - kept:
        raise CommandError(
            f"--replay-since {moment.isoformat()} is too long ago: messages are kept for {kept.days} days "
            "(OUTBOX_RETENTION_DAYS), and earlier ones may have been deleted. Replay from "
            f"{now - kept:%Y-%m-%dT%H:%MZ} on, then mend the rest with manage.py reconcile --fix."
        )


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ArgumentTypeError(f"{text!r} is no date and time. Write it as 2026-11-20T03:00Z.")
    if timezone.is_naive(moment):
        raise ArgumentTypeError(f"{text!r} does not say in which time zone. Add Z for UTC, or +02:00.")
    return moment


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no number from 1 on.")
    return int(text)
