"""How every database is, in the terminal."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat, pluralize
from rich.console import Console
from rich.table import Table
from rich.text import Text

from apps.monitoring.probes import Status, probe_all

# Leaves time to start, to print and to end within 2.5 s in all.
SECONDS = 1.4
COLUMNS = ("Alias", "State", "Role", "Engine", "Latency", "Size", "Holds", "Apps")


class Command(BaseCommand):
    """Answers within 2.5 s whatever hangs: the threads that wait are daemons and end with the process."""

    help = "Shows every database: up or down, engine, size, tables and rows. Exit status 1 if one is down."
    # What is out of order here is to be shown, not checked first.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="As JSON, with every table.")

    def handle(self, **options: Any) -> None:
        statuses = probe_all(timeout=SECONDS)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(status) for status in statuses], indent=2))
        elif self.stdout.isatty():
            Console().print(_table(statuses))
        else:
            for status in statuses:
                self.stdout.write("  ".join(filter(None, [*_cells(status), status.remark])))
        if down := [status.alias for status in statuses if not status.is_up]:
            raise CommandError(f"Down: {', '.join(down)}. The reason is in the row; check that the server runs.")


def _table(statuses: Sequence[Status]) -> Table:
    table = Table(*COLUMNS)
    for status in statuses:
        style = "red" if not status.is_up else "yellow" if status.remark else ""
        cells = _cells(status)
        if status.remark:
            cells[-1] = f"{status.remark} ({cells[-1]})"
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _holds(status: Status) -> str:
    tables = len(status.tables)
    return f"{tables} table{pluralize(tables)}, rows: {status.rows_text}"


def _cells(status: Status) -> list[str]:
    role = f"{status.role}, read only" if status.read_only and status.role == "primary" else status.role
    if not status.is_up:
        return [status.alias, status.state, role, "", "", "", "", ", ".join(status.apps)]
    return [
        status.alias,
        status.state,
        role,
        f"{status.engine} {status.version}",
        f"{status.latency_ms:.2f} ms",
        filesizeformat(status.size_bytes or 0).replace("\xa0", " "),
        _holds(status),
        ", ".join(status.apps),
    ]
