from django.apps import AppConfig
from django.conf import settings


class LegacyConfig(AppConfig):
    name = "apps.legacy"
    holds = "customers and orders of an older system"

    @property
    def nav(self) -> list[tuple[str, ...]]:
        entry = ("Legacy", "legacy:list")
        return [entry if settings.DEMO or settings.DEBUG else (*entry, "staff")]

    def ready(self) -> None:
        from apps.legacy.models import LegacyOrder
        from apps.legacy.selectors import orders_held
        from apps.users.personal_data import register

        register(LegacyOrder, "orders", orders_held, fate="to stay: they are another system's, which we may only read")
