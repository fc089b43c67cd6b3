from django.apps import AppConfig
from django.conf import settings


class LegacyConfig(AppConfig):
    name = "apps.legacy"
    holds = "customers and orders of an older system"

    @property
    def nav(self) -> list[tuple[str, ...]]:
        entry = ("Legacy", "legacy:list")
        return [entry if settings.DEMO or settings.DEBUG else (*entry, "staff")]
