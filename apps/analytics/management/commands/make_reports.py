from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router

from apps.analytics import services
from apps.analytics.models import AnalyticsReport
from routers.owners import unlimited


class Command(BaseCommand):
    help = "Counts each of the last finished days (UTC) into a report. Meant to run daily, soon after midnight."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=7, help="how many finished days to count anew (default: 7)")

    def handle(self, *, days: int, **options: Any) -> None:
        if not 1 <= days <= 3650:
            raise CommandError("--days must be from 1 to 3650.")
        with unlimited(router.db_for_write(AnalyticsReport)):
            self.stdout.write(f"Counted {services.make_reports(days=days)} days.")
