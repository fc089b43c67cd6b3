"""INSERT … ON CONFLICT on every engine."""

from collections.abc import Iterable, Sequence

from django.db import connections, router
from django.db.models import Model


def bulk_upsert(
    model: type[Model],
    objs: Iterable[Model],
    *,
    unique_fields: Sequence[str],
    update_fields: Sequence[str],
    batch_size: int | None = None,
) -> None:
    """Insert these objects, or where `unique_fields` are taken, update `update_fields` of the row that is there.

    All of them or none, one statement for each batch, on the database that the router writes this model to. MySQL and
    MariaDB take no `unique_fields`: there, any unique index of the table makes an insert an update.
    """
    alias = router.db_for_write(model)
    takes_target = connections[alias].features.supports_update_conflicts_with_target
    model._default_manager.using(alias).bulk_create(
        objs,
        batch_size=batch_size,
        update_conflicts=True,
        unique_fields=unique_fields if takes_target else None,
        update_fields=update_fields,
    )
