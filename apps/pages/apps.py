from django.apps import AppConfig


class PagesConfig(AppConfig):
    """The pages that draw on several databases at once. It has no models."""

    name = "apps.pages"
    nav = [("Home", "pages:home"), ("Dashboard", "pages:dashboard")]
