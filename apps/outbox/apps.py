from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules


class OutboxConfig(AppConfig):
    """Messages from one database to another, exactly once in effect. SHARED_APPS says where its tables are."""

    name = "apps.outbox"

    def ready(self) -> None:
        from apps.outbox import tombstones
        from apps.outbox.checks import check_outbox

        autodiscover_modules("handlers")
        tombstones.connect()
        checks.register(check_outbox)
