"""The figures that the dashboard shows from the cache."""

from django.apps import apps
from django.utils import timezone

from apps.cache.services import set_entry
from apps.pages.selectors import FIGURES_KEY

DAY = 24 * 60 * 60
COUNTED = ("users.User", "blog.Post", "blog.Comment", "analytics.AnalyticsEvent", "legacy.LegacyCustomer")


def refresh_figures() -> dict[str, int]:
    """Count the rows of the main models, each on its own database, and keep the result in the cache for a day."""
    models = [apps.get_model(label) for label in COUNTED]
    rows = {str(model._meta.verbose_name_plural): model._default_manager.count() for model in models}
    set_entry(key=FIGURES_KEY, value={"counted_at": timezone.now().isoformat(), "rows": rows}, timeout=DAY)
    return rows
