from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from apps.outbox import services
from apps.outbox.registry import outboxes
from apps.outbox.selectors import Backlog, backlog_by_handler, unhandled

FILTERS = ("topic", "handler", "uid")


class Command(BaseCommand):
    help = "What waits in the outboxes, and what is to become of dead letters and of what was delivered long ago."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("status", help="What waits, for how long, and the dead letters, by database and handler.")
        for name, text in (("replay", "Try dead letters again."), ("discard", "Give dead letters up for good.")):
            action = actions.add_parser(name, help=f"{text} Say which, or --all.")
            for field in FILTERS:
                action.add_argument(f"--{field}", type=UUID if field == "uid" else str)
            action.add_argument("--all", action="store_true")
        prune = actions.add_parser("prune", help="Delete what was delivered long ago, and receipts twice as old.")
        prune.add_argument("--older-than", type=int, metavar="DAYS", default=settings.OUTBOX_RETENTION_DAYS)
        for action in actions.choices.values():
            action.add_argument("--database", choices=outboxes(), help="Only in this one.")

    def handle(self, **options: Any) -> None:
        aliases = [options["database"]] if options["database"] else outboxes()
        failed = []
        act: Callable[..., str] = getattr(self, f"_{options['action']}")
        for alias in aliases:
            try:
                self.stdout.write(act(alias, **options))
            except DatabaseError as error:
                failed.append(alias)
                self.stderr.write(self.style.ERROR(f"{alias}: {str(error).strip()}"))
        if failed:
            raise CommandError(f"Not done: {', '.join(failed)}, for the reason above.")

    def _status(self, alias: str, **options: Any) -> str:
        found = backlog_by_handler(alias)
        strangers = unhandled(found)
        lines = [f"{alias}: {name}: {_in_words(each, is_stranger=name in strangers)}" for name, each in found.items()]
        return "\n".join(lines) or f"{alias}: nothing waits"

    def _replay(self, alias: str, **options: Any) -> str:
        return f"{alias}: {services.replay(_chosen(alias, options))} to be delivered after all"

    def _discard(self, alias: str, **options: Any) -> str:
        return f"{alias}: {services.discard(_chosen(alias, options))} given up"

    def _prune(self, alias: str, **options: Any) -> str:
        try:
            pruned = services.prune(alias, days=options["older_than"])
        except ValueError as error:
            raise CommandError(f"--older-than: {error}") from None
        return f"{alias}: {pruned.messages} messages and {pruned.receipts} receipts deleted"


def _in_words(found: Backlog, *, is_stranger: bool) -> str:
    oldest = "" if found.oldest is None else f", the oldest for {found.oldest:.0f} s"
    nobody = ". No handler here has this name: they wait for one" if is_stranger else ""
    return f"{found.waiting} waiting{oldest}; {found.dead} dead{nobody}"


def _chosen(alias: str, options: dict[str, Any]) -> Any:
    given = {field: options[field] for field in FILTERS if options[field]}
    if bool(given) == options["all"]:
        raise CommandError("Say which dead letters: by --topic, --handler or --uid, or --all of them.")
    return services.dead_letters(alias, **given)
