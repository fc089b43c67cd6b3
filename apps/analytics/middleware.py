import logging
from collections.abc import Callable

from django.db import router
from django.http import HttpRequest, HttpResponse

from apps.analytics import services
from apps.analytics.models import AnalyticsEvent

logger = logging.getLogger(__name__)


class PageViewMiddleware:
    """Hands each page view to the recorder. Asks no database, and no failure of it reaches the visitor."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        try:
            services.record_page_view(request, response)
        except Exception:
            alias = router.db_for_write(AnalyticsEvent)
            logger.exception("A page view could not be recorded.", extra={"alias": alias})
        return response
