"""The health pages for whoever asks, the ledger of each request, and the banner while changes cannot be saved."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils.cache import patch_cache_control, patch_vary_headers

from apps.monitoring.ledger import Ledger, open_ledger
from apps.monitoring.templatetags.databases import BANNER_PLACEHOLDER, LEDGER_PLACEHOLDER
from apps.monitoring.views import healthz, readyz
from routers import state
from routers.read_write_split import is_gone
from routers.topology import topology


class HealthMiddleware:
    """Serves /healthz and /readyz under any host name: a load balancer asks by the address of the machine.

    Goes before everything that minds ALLOWED_HOSTS. Such a request sees no other middleware, so it has no user.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            if view := _health_view(request):
                return view(request)
        return self.get_response(request)


def _health_view(request: HttpRequest) -> Callable[[HttpRequest], HttpResponseBase] | None:
    try:
        view = resolve(request.path_info).func
    except Resolver404:
        return None
    return view if view in (healthz, readyz) else None


class LedgerMiddleware:
    """Shows which databases served a response: at the foot of an HTML page, and in a Server-Timing header. It is opened
    before anything queries, and put into the page when everything has.

    On in DEMO and DEBUG; in production for staff who ask with ?ledger. Everybody is told at the head of the page when
    it comes from a replica whose primary is gone. Goes before every middleware that queries.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        always = settings.DEMO or settings.DEBUG
        if not always and "ledger" not in request.GET:
            return _complete(self.get_response(request))
        with open_ledger() as ledger:
            response = self.get_response(request)
            shown = always or _for_staff(request, response)
        return _show(response, ledger) if shown else _complete(response)


def _for_staff(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether the visitor is staff. The answer depends on a cookie, so no shared cache may keep the response."""
    patch_vary_headers(response, ["Cookie"])
    patch_cache_control(response, private=True, no_store=True)
    try:
        return bool(request.user.is_staff) if hasattr(request, "user") else False
    except Error:  # the page may have done without the users' database
        return False


def _show(response: HttpResponseBase, ledger: Ledger) -> HttpResponseBase:
    if timing := ledger.server_timing():
        before = response.get("Server-Timing")
        response["Server-Timing"] = f"{before}, {timing}" if before else timing
    return _complete(response, lambda: render_to_string("monitoring/_ledger.html", {"ledger": ledger}))


def _complete(response: HttpResponseBase, ledger: Callable[[], str] = str) -> HttpResponseBase:
    """Replace the placeholders in an HTML page; a page without them does not render what would go there."""
    if not isinstance(response, HttpResponse) or not response.get("Content-Type", "").startswith("text/html"):
        return response
    for placeholder, render in ((BANNER_PLACEHOLDER, _banner), (LEDGER_PLACEHOLDER, ledger)):
        marker = placeholder.encode(response.charset)
        if marker in response.content:
            response.content = response.content.replace(marker, render().encode(response.charset))
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))
    return response


def _banner() -> str:
    """Names the clusters that this page read from replicas while their primary is gone; empty without any."""
    known = state.current()
    gone = [c.name for c in topology().clusters if known and c.name in known.replicas and is_gone(c, known)]
    return render_to_string("monitoring/_primary_gone.html", {"clusters": gone}) if gone else ""
