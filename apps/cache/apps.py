from django.apps import AppConfig


class CacheConfig(AppConfig):
    name = "apps.cache"
    nav = [("Cache", "cache:list", "staff")]
    holds = "cached figures, local to the node"
