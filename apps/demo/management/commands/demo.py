"""Everything that `make demo` does once the packages are installed."""

import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from apps.demo.people import demo_logins


class Command(BaseCommand):
    help = "Migrates every database, fills what is empty, and serves the site on this machine until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("The demo has logins that everybody knows. It needs DEMO=on, which `make demo` sets.")
        port = options["port"]
        _refuse_taken_port(port)
        # A first start that was killed between making a table and recording it left the table.
        call_command("migrate_all", verbosity=0, fake_initial=True)
        call_command("load_legacy", if_empty=True)
        call_command("seed_demo", if_empty=True)
        self._say_where(port)
        arguments = [
            *("--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "8"),
            *("--log-level", "warning", "--graceful-timeout", "2", "config.wsgi"),
        ]
        _start_relay()
        # The server takes the place of this process, so that Ctrl-C ends it and nothing is left behind.
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])

    def _say_where(self, port: int) -> None:
        site = f"http://127.0.0.1:{port}"
        logins = Table("user name", "password", "who", box=None, padding=(0, 3, 0, 0))
        for login in demo_logins():
            logins.add_row(login["username"], login["password"], login["role"])
        console = Console(soft_wrap=True, highlight=False)
        console.print(f"\nThe site is at {site} until you press Ctrl-C. Sign in with:\n")
        console.print(logins)
        console.print(
            f"\nThree things worth looking at:\n"
            f"  {site}/            the foot of each page says which databases served it, and why\n"
            f"  {site}/databases/  every alias, live: up or down, engine, tables and rows\n"
            f"  {site}/dashboard/  one page from five databases, with one query to each (sign in first)\n"
        )


def _start_relay() -> None:
    """Start the process that delivers messages. It ends when the last process of the server has, be it killed."""
    reading, writing = os.pipe()
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo_relay"]
    stdin = [(os.POSIX_SPAWN_DUP2, reading, 0)]
    # In a group of its own: Ctrl-C would reach it before it is ready for that.
    os.posix_spawn(sys.executable, command, os.environ, file_actions=stdin, setpgroup=0)
    os.close(reading)
    os.set_inheritable(writing, True)  # noqa: FBT003 - Python's own signature


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise CommandError(f"Port {port} cannot be used: {error}. Choose another: make demo PORT=9000") from error
