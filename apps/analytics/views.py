from django.db import router
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.analytics import selectors
from apps.analytics.models import AnalyticsEvent

PERIODS = {"7": 7, "30": 30, "90": 90}


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Everybody's figures of the last 7, 30 or 90 days (?days=)."""
    chosen = request.GET.get("days", "30")
    if chosen not in PERIODS:
        raise Http404(f"The figures are kept for {', '.join(PERIODS)} days.")
    figures = selectors.overview(days=PERIODS[chosen])
    context = {
        "alias": router.db_for_read(AnalyticsEvent),
        "figures": figures,
        "points": [(day.date, day.events) for day in figures.days],
        "periods": PERIODS.values(),
        "days": PERIODS[chosen],
        "latest_views": selectors.LATEST_VIEWS,
    }
    return render(request, "analytics/overview.html", context)
