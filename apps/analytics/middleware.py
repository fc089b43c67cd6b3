import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from apps.analytics import services
from apps.analytics.recorder import outbox

logger = logging.getLogger(__name__)


class PageViewMiddleware:
    """Records each page view before its page is sent, so that nobody has seen a page that is not counted. No failure of
    it reaches the visitor.

    Goes inside of LedgerMiddleware, which shows the statement that it costs.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        try:
            services.record_page_view(request, response)
        except Exception:
            logger.exception("A page view could not be recorded.", extra={"alias": outbox()})
        return response
