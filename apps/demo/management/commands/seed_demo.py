"""Fill the databases with the demo's content."""

from argparse import ArgumentParser
from contextlib import ExitStack
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from apps.demo import seeding
from apps.pages.services import refresh_figures
from routers.locks import migration_lock
from routers.owners import unlimited
from routers.topology import topology

WAIT_SECONDS = 600


class Command(BaseCommand):
    help = (
        "Fills the site with people, posts and 90 days of events. The same numbers give the same content; what is "
        "there already is left alone, larger numbers add to it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--users", type=int, default=24)
        parser.add_argument("--posts", type=int, default=20)
        parser.add_argument("--events", type=int, default=18_000)
        parser.add_argument(
            "--if-empty", action="store_true", help="Leave a database alone that has been filled before."
        )
        parser.add_argument("--reset", action="store_true", help="First empty every database that is ours.")
        parser.add_argument("--no-input", action="store_true", help="Do not ask before --reset deletes.")

    def handle(self, **options: Any) -> None:
        if not (settings.DEBUG or settings.DEMO):
            raise CommandError("The demo's content comes with logins that everybody knows. Set DEMO=on or DEBUG=on.")
        for name, least in (("users", 1), ("posts", 0), ("events", 0)):
            if options[name] < least:
                raise CommandError(f"--{name} is {options[name]}; it must be at least {least}.")
        if options["reset"] and not (options["no_input"] or _agreed()):
            raise CommandError("Nothing was deleted.")
        # One run at a time: what is missing is counted first and written later.
        first, *others = topology().managed_aliases()
        with ExitStack() as stack:
            for alias in (first, *others):
                stack.enter_context(unlimited(alias))
            stack.enter_context(migration_lock(connections[first], timeout=WAIT_SECONDS))
            if options["reset"]:
                seeding.delete_everything()
            parts = seeding.unfinished_parts() if options["if_empty"] else {"users", "blog", "analytics"}
            if parts:
                self._seed(parts, options)

    def _seed(self, parts: set[str], options: dict[str, Any]) -> None:
        users, posts, events = options["users"], options["posts"], options["events"]
        steps = (
            ("users", users, partial(seeding.seed_users, users)),
            ("blog", posts, partial(seeding.seed_blog, posts, users)),
            ("analytics", events, partial(seeding.seed_events, events, users)),
        )
        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=Console(), disable=not options["verbosity"]) as bars:
            for part, total, seed in steps:
                if part in parts:
                    task = bars.add_task(part, total=total)
                    seed(partial(bars.advance, task))
        refresh_figures()


def _agreed() -> bool:
    try:
        return input("This deletes every row in every database that is ours. Type yes to go on: ") == "yes"
    except EOFError:  # nobody is there to ask
        return False
