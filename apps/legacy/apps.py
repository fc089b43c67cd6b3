from django.apps import AppConfig


class LegacyConfig(AppConfig):
    name = "apps.legacy"
    nav = [("Legacy", "legacy:list")]
    holds = "customers and orders of an older system"
