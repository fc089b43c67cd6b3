"""Migrate every database that is ours, in one process."""

from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.migrations.loader import MigrationLoader

from routers.locks import LockTimeout, migration_lock
from routers.owners import as_owner
from routers.topology import declared_in, topology


class Command(BaseCommand):
    """Runs Django's own `migrate` on each database, under that database's lock.

    Like `migrate --database=…` it records every app's migrations on every database, while the router lets their tables
    come into being on one. So the two commands agree on what is pending, and a renamed model finds its content type,
    which lives beside the users.
    """

    help = (
        "Migrates every database of the topology but the read-only ones and the replicas. "
        "A database that is down is named, the others are migrated all the same, and the exit status is 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", action="append", metavar="ALIAS", help="Only this database. Repeatable.")
        parser.add_argument("--app", action="append", metavar="LABEL", help="Only this app. Repeatable.")
        parser.add_argument("--plan", action="store_true", help="Show what would be done, and do nothing.")
        parser.add_argument("--check", action="store_true", help="Exit with 1 if anything is pending; do nothing.")
        parser.add_argument(
            "--fake-initial", action="store_true", help="As migrate has it: tables that exist count as made."
        )
        parser.add_argument("--lock-timeout", type=float, default=60.0, help="Seconds to wait for another run.")

    def handle(self, **options: Any) -> None:
        self.apps: list[str] = _checked_apps(options["app"] or [])
        aliases = _chosen_aliases(options["database"] or [], self.apps)
        self.lock_timeout, self.verbosity = options["lock_timeout"], options["verbosity"]
        self.fake_initial = options["fake_initial"]
        work = self._show if options["plan"] or options["check"] else self._migrate
        failed, pending = [], 0
        for alias in aliases:
            try:
                with as_owner(alias) as connection:
                    pending += work(connection)
            except (DatabaseError, LockTimeout, MigrationSchemaMissing) as error:
                failed.append(alias)
                self.stderr.write(self.style.ERROR(f"{alias}: {str(error).strip()}"))
        if failed:
            raise CommandError(f"Not done: {', '.join(failed)}, for the reason above. The other databases are.")
        if options["check"] and pending:
            raise CommandError(f"{pending} to do. Run: manage.py migrate_all")

    def _asked(self, connection: BaseDatabaseWrapper) -> list[str]:
        """The apps that --app named, of those that live here; none means all."""
        return [app for app in self.apps if app in topology().labels_on(connection.alias)]

    def _show(self, connection: BaseDatabaseWrapper) -> int:
        plan = _plan(connection, self._asked(connection))
        here = topology().labels_on(connection.alias)
        missing = _missing_tables(connection, {migration.app_label for migration in plan})
        for migration in plan:
            note = "" if migration.app_label in here else "  (recorded only: its tables are elsewhere)"
            self.stdout.write(f"{connection.alias}: {migration}{note}")
        for line in missing:
            self.stdout.write(self.style.WARNING(f"{connection.alias}: {line}"))
        if not plan and not missing:
            self.stdout.write(f"{connection.alias}: nothing to do")
        return len(plan) + len(missing)

    def _migrate(self, connection: BaseDatabaseWrapper) -> int:
        with migration_lock(connection, timeout=self.lock_timeout):
            # Planned inside the lock: another run may have done some of it while this one waited.
            asked = self._asked(connection)
            plan = _plan(connection, asked)
            for labels in [[app] for app in asked] or [[]]:
                call_command(
                    "migrate", *labels, database=connection.alias, interactive=False,
                    fake_initial=self.fake_initial, verbosity=max(self.verbosity - 1, 0),
                    stdout=self.stdout, stderr=self.stderr,
                )  # fmt: skip
        still_pending = {migration.app_label for migration in _plan(connection, [])}
        if missing := _missing_tables(connection, still_pending):
            raise DatabaseError("\n".join(missing))
        if self.verbosity:
            here = sum(migration.app_label in topology().labels_on(connection.alias) for migration in plan)
            self.stdout.write(f"{connection.alias}: {here} applied" if plan else f"{connection.alias}: nothing to do")
        return 0


def _checked_apps(asked: list[str]) -> list[str]:
    installed = {config.label for config in apps.get_app_configs()} & topology().app_labels
    for label in asked:
        if label not in installed:
            raise CommandError(f"No installed app {label!r} has a database. There are: {', '.join(sorted(installed))}.")
    return asked


def _chosen_aliases(asked: list[str], labels: list[str]) -> list[str]:
    managed = topology().managed_aliases()
    for alias in asked:
        if alias not in managed:
            raise CommandError(
                f"{alias!r} is not a database that is migrated. There are: {', '.join(managed)}. Replicas receive "
                f"their schema from their primary, read-only databases belong to others, as {declared_in()} says."
            )
    chosen = [alias for alias in asked or managed if not labels or topology().labels_on(alias) & set(labels)]
    if not chosen:
        raise CommandError(f"None of {', '.join(labels)} lives on {', '.join(asked or managed)}.")
    return chosen


def _plan(connection: BaseDatabaseWrapper, labels: list[str]) -> list[Migration]:
    """The migrations not yet recorded on this database (of these apps and of what they depend on), in order."""
    loader = MigrationLoader(connection)
    _refuse_bare_apps(loader)
    plan: list[Migration] = []
    for node in loader.graph.leaf_nodes():
        if not labels or node[0] in labels:
            steps = (loader.graph.nodes[key] for key in loader.graph.forwards_plan(node))
            plan += [step for step in steps if (step.app_label, step.name) not in loader.applied_migrations]
    return list(dict.fromkeys(plan))


def _refuse_bare_apps(loader: MigrationLoader) -> None:
    for label in sorted(loader.unmigrated_apps & topology().app_labels):
        if any(model._meta.managed for model in apps.get_app_config(label).get_models()):
            raise CommandError(f"The app {label!r} has models but no migrations. Run: manage.py makemigrations {label}")


def _missing_tables(connection: BaseDatabaseWrapper, pending: set[str]) -> list[str]:
    """Tables whose migrations are recorded but which are not there: their app moved here from another cluster after
    `migrate` had recorded it on this database as well.
    """
    tables = set(connection.introspection.table_names())
    here = topology().labels_on(connection.alias) - pending
    return [
        f"{model._meta.label} is recorded as migrated, but its table {model._meta.db_table} is not there. "
        f"Run: manage.py migrate {model._meta.app_label} zero --fake --database={connection.alias}, then migrate_all"
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label in here and model._meta.managed and model._meta.db_table not in tables
    ]
