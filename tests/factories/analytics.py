from datetime import UTC, datetime, timedelta

import factory
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent, AnalyticsReport


class EventFactory(factory.django.DjangoModelFactory[AnalyticsEvent]):
    """A page view of this moment, each by another visitor of another page."""

    class Meta:
        model = AnalyticsEvent

    event_type = "page_view"
    session_id = factory.Sequence(lambda n: f"{n:032x}")
    data = factory.Sequence(lambda n: {"path": f"/page/{n}/"})


class ReportFactory(factory.django.DjangoModelFactory[AnalyticsReport]):
    """A finished day without visitors; each goes one day further back."""

    class Meta:
        model = AnalyticsReport

    date = factory.Sequence(lambda n: noon(n + 1).date())


def noon(days_ago: int) -> datetime:
    """Noon of that day in UTC, whatever the time of the day now."""
    return timezone.now().astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
