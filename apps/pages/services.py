"""The figures that the dashboard shows from the cache."""

from django.utils import timezone

from apps.analytics.selectors import count_events
from apps.blog.selectors import count_comments, count_posts
from apps.cache.services import set_entry
from apps.legacy.selectors import count_customers
from apps.pages.selectors import FIGURES_KEY
from apps.users.selectors import count_users

DAY = 24 * 60 * 60


def refresh_figures() -> dict[str, int]:
    """Count what there is most of, each on its own database, and keep the result in the cache for a day."""
    rows = {
        "users": count_users(),
        "posts": count_posts(),
        "comments": count_comments(),
        "analytics events": count_events(),
        "customers": count_customers(),
    }
    set_entry(key=FIGURES_KEY, value={"counted_at": timezone.now().isoformat(), "rows": rows}, timeout=DAY)
    return rows
