"""Django's own `migrate`, by the account that owns the tables."""

from typing import Any

from django.core.management.commands import migrate

from routers.owners import as_owner


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner(options["database"]):
            super().handle(*args, **options)
