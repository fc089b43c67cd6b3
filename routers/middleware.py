"""The middleware that opens a routing state for each request."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from routers.health import prober
from routers.state import routing_state


class RoutingMiddleware:
    """Gives each request a routing state of its own, and starts the prober of databases with the first one.

    Goes before every middleware that queries a database.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        prober.ensure_started()
        if self.is_async:
            return self._async_call(request)
        with routing_state():
            response: HttpResponseBase = self.get_response(request)
            return response

    async def _async_call(self, request: HttpRequest) -> HttpResponseBase:
        with routing_state():
            response: HttpResponseBase = await self.get_response(request)
            return response
