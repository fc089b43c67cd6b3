import os
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from apps.outbox.publishing import sources
from apps.outbox.relay import Relay
from apps.outbox.selectors import RELAY
from routers.errors import alias_of


class Command(BaseCommand):
    help = (
        "Delivers messages from one database to another, until SIGTERM or Ctrl-C, which let it finish the batches in "
        "hand. Several may run at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", action="append", metavar="ALIAS", help="Only from this one. Repeatable.")
        parser.add_argument(
            "--once", action="store_true", help="Deliver what is due and end; exit with 1 if anything could not be."
        )
        parser.add_argument(
            "--heartbeat",
            type=Path,
            metavar="FILE",
            help="Touch it every second, for whoever watches this process.",
        )

    def handle(self, **options: Any) -> None:
        for alias in options["database"] or []:
            if alias not in sources():
                raise CommandError(f"{alias!r} sends no messages. There are: {', '.join(sources())}.")
        relay = Relay(*options["database"] or [])
        if options["once"]:
            self._drain(relay)
            return
        os.environ["PGAPPNAME"] = RELAY
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *args: relay.stopping.set())
        relay.run(heartbeat=options["heartbeat"])

    def _drain(self, relay: Relay) -> None:
        try:
            delivered, failed, unavailable = relay.drain()
        except DatabaseError as error:
            where = alias_of(error) or "a database"
            raise CommandError(
                f"Not all was delivered, because of {where}: {str(error).strip()}. Mend that, and run it again."
            ) from error
        self.stdout.write(f"{delivered} delivered")
        if unavailable:
            raise CommandError(
                f"A database did not answer, or has no room left, on the way from {', '.join(unavailable)}."
            )
        if failed:
            raise CommandError(f"Failed: {failed}. See manage.py outbox status.")
