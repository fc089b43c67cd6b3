"""Fill the old system's database, where it is a SQLite file of ours."""

import sqlite3
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.legacy.models import LegacyCustomer
from apps.legacy.services import SECONDS_TO_WAIT, SQL_FILES, NotEmpty, fill_sqlite_file
from routers.locks import LockTimeout, migration_lock
from routers.sqlite import file_of

CLIENTS = {
    "mysql": "mysql --default-character-set=utf8mb4 --host={HOST} --port={PORT} --user={USER} --password {NAME} <",
    "postgresql": "psql --set=ON_ERROR_STOP=1 --host={HOST} --port={PORT} --username={USER} {NAME} <",
}
PORTS = {"mysql": 3306, "postgresql": 5432}


class Command(BaseCommand):
    help = "Fills the legacy database from apps/legacy/sql/, if it is an empty SQLite file. Refuses any other."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--if-empty", action="store_true", help="Leave a database that is loaded alone, in silence."
        )

    def handle(self, **options: Any) -> None:
        connection = connections[LegacyCustomer.objects.db]
        if options["if_empty"] and _is_loaded(connection):
            return
        if connection.vendor != "sqlite":
            raise CommandError(_how_to_load(connection))
        with _one_at_a_time(connection):
            # Asked again: another run may have filled it while this one waited.
            if options["if_empty"] and _is_loaded(connection):
                return
            self._fill(connection)
        self._report(connection, options["verbosity"])

    def _fill(self, connection: BaseDatabaseWrapper) -> None:
        alias, path = connection.alias, file_of(connection.settings_dict["NAME"])
        if path is None:
            raise CommandError(f"{alias} is in memory, and this command fills only a file.")
        try:
            # Asked first: a file that is somebody's is not to be touched.
            if _tables(connection):
                raise NotEmpty(path)
            fill_sqlite_file(path=path)
        except NotEmpty as error:
            raise CommandError(
                f"{alias} has tables already ({', '.join(sorted(_tables(connection))[:3])}), and only an empty file is "
                f"filled, so nothing was changed. To load it anew, stop the site, remove {path} and run this again."
            ) from error
        except sqlite3.Error as error:
            raise CommandError(f"{alias} was left as it was, because {path} cannot be filled: {error}.") from error

    def _report(self, connection: BaseDatabaseWrapper, verbosity: int) -> None:
        if verbosity:
            models = apps.get_app_config("legacy").get_models()
            rows = ", ".join(f"{model._meta.db_table} {model._default_manager.count()}" for model in models)
            self.stdout.write(f"{connection.alias}: loaded (rows: {rows})")


@contextmanager
def _one_at_a_time(connection: BaseDatabaseWrapper) -> Iterator[None]:
    try:
        # SQLite's own lock is not enough: it does not wait when two connections switch a file to WAL at once.
        with migration_lock(connection, timeout=SECONDS_TO_WAIT):
            yield
    except LockTimeout as error:
        raise CommandError(str(error)) from error


def _tables(connection: BaseDatabaseWrapper) -> set[str]:
    try:
        return set(connection.introspection.table_names())
    except DatabaseError as error:
        raise CommandError(f"{connection.alias} cannot be read: {str(error).strip()}.") from error


def _is_loaded(connection: BaseDatabaseWrapper) -> bool:
    return {model._meta.db_table for model in apps.get_app_config("legacy").get_models()} <= _tables(connection)


def _how_to_load(connection: BaseDatabaseWrapper) -> str:
    settings, vendor = connection.settings_dict, connection.vendor
    client = CLIENTS[vendor].format(**settings | {"PORT": settings["PORT"] or PORTS[vendor]})
    lines = [f"  {client} {file}" for file in SQL_FILES]
    return (
        f"{connection.alias} is on {vendor}, and this command fills only SQLite files. "
        "Load the files with that server's own client, as a user who may create tables there:\n" + "\n".join(lines)
    )
