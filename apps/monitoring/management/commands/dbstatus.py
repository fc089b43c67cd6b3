"""How every database is, in the terminal."""

import json
import logging
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat, pluralize
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from apps.monitoring.engines import Facts
from apps.monitoring.probes import Status, probe_all
from routers.health import PRIMARY

COLUMNS = ("Alias", "State", "Role", "Lag", "Engine", "Latency", "Size", "Holds", "Messages", "Apps")
WATCHED = ("Alias", "State", "Role", "Lag", "Since (UTC)", "Messages", "Why")
WATCH_SECONDS = 1


class Command(BaseCommand):
    """Answers within 2.5 s whatever hangs: the threads that wait are daemons and end with the process."""

    help = (
        "Shows every database: up or down, engine, size, tables, rows, and messages that wait. Exit status 1 if one is "
        "down. With --watch: every second, until Ctrl-C, which are up, how far replicas are behind, which of them "
        "nobody reads from, and how many messages wait."
    )
    # What is out of order here is to be shown, not checked first.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="As JSON, with every table.")
        how.add_argument("--watch", action="store_true", help="Again every second, until Ctrl-C.")

    def handle(self, **options: Any) -> None:
        if options["watch"]:
            with suppress(KeyboardInterrupt):
                self._watch()
            return
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

    def _watch(self) -> None:
        if self.stdout.isatty():
            logging.disable(logging.WARNING)  # of what the table says, lines in the midst of it would be no help
            with Live(console=Console(), auto_refresh=False) as live:
                for statuses in _each_second():
                    live.update(_rows(WATCHED, [(status, _watched(status)) for status in statuses]), refresh=True)
        else:
            for statuses in _each_second():
                lines = ["  ".join(filter(None, _watched(status))) for status in statuses]
                self.stdout.write("\n".join([f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S} UTC", *lines, "\n"]))
                self.stdout.flush()


def _each_second() -> Iterator[list[Status]]:
    while True:
        yield probe_all(facts_of=())
        time.sleep(WATCH_SECONDS)


def _table(statuses: Sequence[Status]) -> Table:
    rows = [(status, _cells(status)) for status in statuses]
    for status, cells in rows:
        if status.remark:
            cells[-1] = f"{status.remark} ({cells[-1]})"
    return _rows(COLUMNS, rows)


def _rows(columns: Sequence[str], rows: Sequence[tuple[Status, list[str]]]) -> Table:
    table = Table(*columns)
    for status, cells in rows:
        style = "red" if not status.is_up else "yellow" if status.remark else ""
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _watched(status: Status) -> list[str]:
    since = status.health.since
    when = f"since {since:%Y-%m-%d %H:%M:%S}" if since else ""
    lag = f"lag: {status.lag_text}" if status.lag_text else ""
    return [status.alias, status.state, status.role, lag, when, _messages(status), status.remark]


def _messages(status: Status) -> str:
    return f"messages: {status.messages}" if status.messages else ""


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
        return [status.alias, status.state, role, "", "", "", "", "", "", labels]
    engine, size, holds = _holds(status.facts)
    lag = f"lag: {status.lag_text}" if status.lag_text else ""
    latency, messages = f"{seen.latency_ms:.2f} ms", _messages(status)
    return [status.alias, status.state, role, lag, engine, latency, size, holds, messages, labels]
