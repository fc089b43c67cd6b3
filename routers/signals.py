"""What `routers` announces. It carries nothing out itself: whoever keeps databases in step subscribes."""

from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_delete
from django.dispatch import Signal

from routers.relations import fields_to

# A row was deleted that a field of another database may point at. Sent once for each such field, inside the transaction
# of the delete, whose end it may not survive; an exception undoes the delete.
# sender: the model of the row; field: the CrossDatabaseForeignKey; pk: the id that the field stored; using: the alias.
referenced_row_deleted = Signal()


def connect() -> None:
    """Have the deletion of each row announced to which a field of another database can point.

    Proxies are connected by themselves: Django names them as senders. To be connected also makes Django delete these
    rows one by one and not in bulk, so none is missed but by raw SQL.
    """
    for model in apps.get_models():
        if fields_to(model):
            post_delete.connect(announce, sender=model, dispatch_uid="routers.signals")


def announce(*, instance: Model, using: str, **kwargs: Any) -> None:
    """Receiver of post_delete."""
    for field in fields_to(type(instance)):
        pk = getattr(instance, field.target_field.attname)
        referenced_row_deleted.send(sender=field.related_model, field=field, pk=pk, using=using)
