from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db.backends.signals import connection_created


class MonitoringConfig(AppConfig):
    """How the databases are, and which of them served a request. It has no models."""

    name = "apps.monitoring"

    @property
    def nav(self) -> list[tuple[str, ...]]:
        entry = ("Databases", "monitoring:databases")
        return [entry if settings.DEMO or settings.DEBUG else (*entry, "staff")]

    def ready(self) -> None:
        from apps.monitoring.checks import check_demo_hosts
        from apps.monitoring.ledger import observe_connection

        connection_created.connect(observe_connection, dispatch_uid="apps.monitoring.ledger")
        checks.register(check_demo_hosts, checks.Tags.security, deploy=True)
