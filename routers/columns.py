"""The type of a column in the words of `inspectdb`, so that a model and a database can be compared on any engine."""

import re
from collections.abc import Iterable
from typing import Any

from django.db import models

# What makes up a type besides its name.
SIZES = {"CharField": ("max_length",), "DecimalField": ("max_digits", "decimal_places")}


def type_expected(connection: Any, field: Any) -> str:
    """What inspectdb would make of the field's own column; empty where Django itself has no such type.

    A relation counts as what it points at, and a field that counts by itself as one of integers.
    """
    while field.remote_field:
        field = field.target_field
    field = getattr(field, "output_field", field)
    characters = str(field.db_type(connection)).startswith(("varchar", "char("))
    kind = "CharField" if characters else field.get_internal_type().replace("AutoField", "IntegerField")
    if not hasattr(models, kind):
        return ""
    if kind == "JSONField" and (connection.vendor == "sqlite" or getattr(connection, "mysql_is_mariadb", False)):
        return "TextField"
    kind = connection.features.introspected_field_types.get(kind, kind)
    return _text(kind, [getattr(field, size) for size in SIZES.get(kind, ())])


def type_there(connection: Any, cursor: Any, row: Any, expected: str) -> str:
    """What inspectdb makes of the column that `row` of get_table_description() describes.

    It is `expected` where the database says too little to tell that from the truth.
    """
    if hasattr(row, "has_json_constraint"):  # on MariaDB, Django takes every CHECK for that of a JSONField
        row = row._replace(has_json_constraint=False)
    try:
        kind = connection.introspection.get_field_type(row.type_code, row)
    except KeyError:
        return f"{_own_name(connection, cursor, row)}, for which Django has no field"
    if connection.vendor == "sqlite":
        return _on_sqlite(kind, row.type_code, expected)
    sizes = {"CharField": [row.display_size], "DecimalField": [row.precision, row.scale]}.get(kind, [])
    return _text(kind.replace("AutoField", "IntegerField"), sizes)


def _on_sqlite(kind: str, declared: str, expected: str) -> str:
    """SQLite keeps the words of CREATE TABLE, which need not say a size; and a key of any integer type has 64 bits."""
    sizes = re.findall(r"\d+", declared)
    unsaid = not sizes and expected.startswith(f"{kind}(")
    key = kind == "AutoField" and expected.endswith("IntegerField")
    return expected if unsaid or key else _text(kind, sizes)


def _own_name(connection: Any, cursor: Any, row: Any) -> Any:
    """What the database calls the type."""
    if connection.vendor != "postgresql":
        return getattr(row, "data_type", row.type_code)
    cursor.execute("SELECT format_type(%s, NULL)", [row.type_code])
    return cursor.fetchone()[0]


def _text(kind: str, sizes: Iterable[Any]) -> str:
    said = [f"{name}={size}" for name, size in zip(SIZES.get(kind, ()), sizes, strict=False) if size is not None]
    return f"{kind}({', '.join(said)})" if said else kind
