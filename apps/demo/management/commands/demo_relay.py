import os
import signal
import sys
from threading import Thread
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "The relay beside the demo's site, which holds the other end of its standard input: they end together."

    def handle(self, **options: Any) -> None:
        Thread(target=_end_with_the_site, daemon=True).start()
        call_command("relay_outbox")


def _end_with_the_site() -> None:
    # However the site ended, its end of the pipe was closed. Nothing else says so on every system.
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
