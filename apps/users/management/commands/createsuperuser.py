from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import createsuperuser
from django.core.management.base import CommandParser
from django.db import router


class Command(createsuperuser.Command):
    """Django's own, which would look for the users on `default` unless told otherwise."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database=router.db_for_write(get_user_model()))
