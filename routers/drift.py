"""The drift check: what the models expect of somebody else's database, beside what is there.

A read-only cluster is never migrated, so nothing else notices when its owner changes a table. The check opens
connections, so it runs only for the aliases that are named: `manage.py check --database ALIAS`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage
from django.core.checks import Error as CheckError
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from routers.columns import type_expected, type_there
from routers.topology import topology


def check_drift(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What has drifted on those of the named aliases that belong to read-only clusters. IDs: routers.E010 to E015."""
    found = []
    for alias in dict.fromkeys(databases or ()):
        cluster = topology().cluster_of_alias(alias)
        if cluster and cluster.read_only:
            labels = topology().labels_on(alias)
            configs = [config for config in app_configs or apps.get_app_configs() if config.label in labels]
            here = [model for config in configs for model in config.get_models(include_auto_created=True)]
            found += drift(connections[alias], here)
    return found


def drift(connection: BaseDatabaseWrapper, expecting: Iterable[type[Model]]) -> list[CheckMessage]:
    """What these models, managed or not, expect of the connection's database and do not find there.

    Tables and columns of which no model speaks are left alone. Another length than max_length is reported, a greater
    one too: a form, an export or a copy of the rows that was made for max_length will meet longer values. A database
    that cannot be asked is one error, E010.
    """
    try:
        with connection.cursor() as cursor:
            return list(_Comparison(connection, cursor).of(expecting))
    except Error as error:
        reason = str(error).strip().partition("\n")[0]
        return [
            CheckError(
                f"The tables of {connection.alias} could not be compared with the models: {reason}",
                hint="See that the server runs, and that the account may connect and read; then run the check again.",
                obj=connection.alias,
                id="routers.E010",
            )
        ]


class _Comparison:
    def __init__(self, connection: BaseDatabaseWrapper, cursor: Any) -> None:
        self.connection, self.cursor = connection, cursor
        self.introspection: Any = connection.introspection
        # In the names of columns only PostgreSQL minds the case.
        self.fold: Any = str if connection.vendor == "postgresql" else str.lower

    def of(self, expecting: Iterable[type[Model]]) -> Iterator[CheckMessage]:
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        kinds = {fold(info.name): info.type for info in self.introspection.get_table_list(self.cursor)}
        for model in (model for model in expecting if not model._meta.proxy):
            table = model._meta.db_table
            if kind := kinds.get(fold(table)):
                yield from self._table(model, table, is_view=kind == "v")
            else:
                yield self._error("E011", model, table, f"the table {table}", "there is no such table")

    def _primary_key(self, table: str) -> list[str]:
        if self.connection.vendor != "mysql":
            return self.introspection.get_primary_key_columns(self.cursor, table) or []
        # Django asks information_schema, in which MariaDB shows keys only to whoever may write.
        self.cursor.execute(f"SHOW INDEX FROM {self.connection.ops.quote_name(table)} WHERE Key_name = 'PRIMARY'")
        return [row[4] for row in self.cursor.fetchall()]

    def _table(self, model: type[Model], table: str, *, is_view: bool) -> Iterator[CheckMessage]:
        rows = {self.fold(row.name): row for row in self.introspection.get_table_description(self.cursor, table)}
        key = self._primary_key(table)
        for field in model._meta.local_concrete_fields:
            if row := rows.get(self.fold(field.column)):
                # No database calls the columns of a view NOT NULL, Django not a generated one, SQLite not always a key.
                unsaid = is_view or field.generated or row.name in key
                yield from self._column(field, table, row, null=field.null if unsaid else bool(row.null_ok))
            else:
                column = f"the column {table}.{field.column}"
                yield self._error("E012", field, table, column, "there is no such column")
        expected: list[Any] = [field.column for field in model._meta.pk_fields]
        if not is_view and {*map(self.fold, key)} != {*map(self.fold, expected)}:
            there = f"it is ({', '.join(key)})" if key else "there is none"
            wanted = f"the primary key of {table} to be ({', '.join(expected)})"
            yield self._error("E015", model, table, wanted, there)

    def _column(self, field: Any, table: str, row: Any, *, null: bool) -> Iterator[CheckMessage]:
        column = f"the column {table}.{field.column} to be"
        expected = type_expected(self.connection, field)
        there = type_there(self.connection, self.cursor, row, expected)
        if expected and expected != there:
            yield self._error("E013", field, table, f"{column} {expected}", f"it is {there}")
        if field.null != null:
            says = ("NOT NULL", "NULL")
            yield self._error("E014", field, table, f"{column} {says[field.null]}", f"it is {says[null]}")

    def _error(self, number: str, obj: Any, table: str, expected: str, found: str) -> CheckMessage:
        alias = self.connection.alias
        label = obj._meta.label if hasattr(obj, "_meta") else obj
        return CheckError(
            f"{label} expects {expected} on {alias}, but {found}.",
            hint=f"Change the model to what is there (`manage.py inspectdb --database {alias} {table}` writes it out), "
            "or ask the owner of the schema whether it is meant.",
            obj=obj,
            id=f"routers.{number}",
        )
