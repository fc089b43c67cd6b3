"""Makes a restored database fit to be written, before the site starts."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from apps.outbox.registry import outboxes
from apps.outbox.restoring import advance_keys, advances, delete_again, parents_on, resurrected
from routers.errors import alias_of

# So many ids are named; all are dealt with.
NAMED = 20


class Command(BaseCommand):
    help = (
        "After a database was restored, and before the site starts: has new rows get no id that other databases know "
        "already, and deletes again what had been deleted since the backup. Changes nothing without --fix."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", required=True, choices=outboxes(), help="The one that was restored.")
        parser.add_argument("--fix", action="store_true", help="Do it. The site and the relay are stopped.")

    def handle(self, *, database: str, fix: bool, **options: Any) -> None:
        if not parents_on(database):
            self.stdout.write(f"{database}: no other database points there, so there is nothing to do")
            return
        try:
            is_left = self._keys(database, fix=fix) + self._rows(database, fix=fix)
        except DatabaseError as error:
            where = alias_of(error) or database
            raise CommandError(f"Not done, because of {where}: {str(error).strip()}. Run it again.") from error
        if is_left and not fix:
            raise CommandError("Nothing was changed. Do it with --fix before the site starts.")

    def _keys(self, alias: str, *, fix: bool) -> int:
        """How many sequences are, or were, behind."""
        due = advance_keys(alias) if fix else [each for each in advances(alias) if each.is_due]
        for each in due:
            done = "was moved" if fix else "would be moved"
            label = each.model._meta.label_lower
            self.stdout.write(f"{alias}: the next id of {label} {done} from {each.last + 1} to {each.least + 1}")
        return len(due)

    def _rows(self, alias: str, *, fix: bool) -> int:
        """How many rows are, or were, back."""
        total = 0
        for model in parents_on(alias):
            ids = []
            for row in resurrected(model, using=alias):
                ids.append(row.pk)
                if fix:
                    delete_again(row, using=alias)
            if ids:
                named = ", ".join(map(str, ids[:NAMED])) + ", …" * (len(ids) > NAMED)
                done = "deleted again" if fix else "would be deleted again"
                self.stdout.write(f"{alias}: {len(ids)} of {model._meta.label_lower} are back, {done}: {named}")
            total += len(ids)
        return total
