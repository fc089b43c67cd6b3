from django.apps import AppConfig


class CacheConfig(AppConfig):
    name = "apps.cache"
    nav = [("Cache", "cache:list", "staff")]
    holds = "cached figures, local to the node"

    def ready(self) -> None:
        from apps.cache.models import CacheEntry
        from apps.cache.selectors import entries_held
        from apps.users.personal_data import register

        register(CacheEntry, "cached figures", entries_held, fate="to be deleted")
