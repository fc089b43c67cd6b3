from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created


class RoutersConfig(AppConfig):
    """Brings the checks, the guards and `migrate_all`. It has no models."""

    name = "routers"

    def ready(self) -> None:
        from routers import signals
        from routers.capacity import check_capacity
        from routers.checks import check_commits, check_topology
        from routers.drift import check_drift
        from routers.guards import guard_connection
        from routers.joins import guard_joins

        checks.register(check_topology, checks.Tags.models)
        checks.register(check_commits, checks.Tags.database)
        checks.register(check_drift, checks.Tags.database)
        checks.register(check_capacity, checks.Tags.database, deploy=True)
        connection_created.connect(guard_connection, dispatch_uid="routers.guards")
        connection_created.connect(guard_joins, dispatch_uid="routers.joins")
        signals.connect()
