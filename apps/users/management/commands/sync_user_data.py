"""Brings the cache's entries of people up to date."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import Progress, TextColumn

from apps.users.syncing import BATCH, sync_user_data


class Command(BaseCommand):
    help = (
        "Writes an entry of the cache for each person who has changed since the last time. A run that was ended is "
        "continued by the next. The cache is local to the node, so each node runs it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--full", action="store_true", help="Everybody, from the beginning; forget who is gone.")
        parser.add_argument("--batch-size", type=int, default=BATCH, metavar="PEOPLE")

    def handle(self, **options: Any) -> None:
        if options["batch_size"] < 1:
            raise CommandError(f"--batch-size is {options['batch_size']}; it must be at least 1.")
        columns = (TextColumn("{task.completed} written"),)
        with Progress(*columns, console=Console(), transient=True, disable=not self.stdout.isatty()) as progress:
            task = progress.add_task("", total=None)
            synced = sync_user_data(
                full=options["full"],
                batch_size=options["batch_size"],
                advance=lambda number: progress.advance(task, number),
            )
        who = f"who changed since {synced.since:%Y-%m-%d %H:%M:%S} UTC" if synced.since else "everybody"
        went_on = ", continued where the last run ended" if synced.is_continued else ""
        self.stdout.write(f"{synced.written} written, {synced.forgotten} forgotten ({who}{went_on})")
