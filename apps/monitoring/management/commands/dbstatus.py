"""How every database is, in the terminal."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat, pluralize
from rich.console import Console
from rich.table import Table
from rich.text import Text

from apps.monitoring.engines import Facts
from apps.monitoring.probes import Status, probe_all
from routers.health import PRIMARY

COLUMNS = ("Alias", "State", "Role", "Lag", "Engine", "Latency", "Size", "Holds", "Apps")


class Command(BaseCommand):
    """Answers within 2.5 s whatever hangs: the threads that wait are daemons and end with the process."""

    help = "Shows every database: up or down, engine, size, tables and rows. Exit status 1 if one is down."
    # What is out of order here is to be shown, not checked first.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="As JSON, with every table.")

    def handle(self, **options: Any) -> None:
        statuses = probe_all()
        if options["json"]:
            self.stdout.write(json.dumps([status.as_dict() for status in statuses], indent=2, default=str))
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


def _holds(facts: Facts | None) -> list[str]:
    if facts is None:
        return ["", "", "did not tell in time"]
    tables = len(facts.tables)
    size = filesizeformat(facts.size_bytes).replace("\xa0", " ")
    return [f"{facts.engine} {facts.version}", size, f"{tables} table{pluralize(tables)}, rows: {facts.rows_text}"]


def _cells(status: Status) -> list[str]:
    role = f"{status.role}, read only" if status.read_only and status.role == PRIMARY else status.role
    seen, labels = status.health, ", ".join(status.apps)
    if not status.is_up:
        return [status.alias, status.state, role, "", "", "", "", "", labels]
    engine, size, holds = _holds(status.facts)
    lag = f"lag: {status.lag_text}" if status.lag_text else ""
    return [status.alias, status.state, role, lag, engine, f"{seen.latency_ms:.2f} ms", size, holds, labels]
