"""The middleware that opens a routing state for each request, and has the visitor carry on what it must not forget."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from routers import positions
from routers.health import prober
from routers.positions import Positions
from routers.promises import outstanding, reached
from routers.state import RoutingState, routing_state

SAFE = ("GET", "HEAD", "OPTIONS")


class RoutingMiddleware:
    """Gives each request a routing state of its own, with the positions that its visitor has reached, and has the
    answer carry on those that it has reached since. Starts the prober of databases with the first request.

    A safe request that a database has failed is answered anew, without that database where others have its rows. Goes
    before every middleware that queries a database.
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
        brought = positions.received(request)
        with _state(request, brought) as known:
            for _ in _attempts(request, known):
                response: HttpResponseBase = self.get_response(request)
            _carry_on(response, known, brought)
            _keep_state(response)
        return response

    async def _async_call(self, request: HttpRequest) -> HttpResponseBase:
        brought = positions.received(request)
        with _state(request, brought) as known:
            for _ in _attempts(request, known):
                response: HttpResponseBase = await self.get_response(request)
            await sync_to_async(_carry_on)(response, known, brought)
            _keep_state(response)
        return response


def _state(request: HttpRequest, brought: Mapping[str, Positions]) -> AbstractContextManager[RoutingState]:
    required = positions.furthest(*brought.values())
    return routing_state(is_request=True, is_safe=request.method in SAFE, required=required)


def _attempts(request: HttpRequest, known: RoutingState) -> Iterator[None]:
    """One, and for a safe request one more after each that met with a failure of another database, unless it has sent a
    statement that writes to a cluster with replicas: what has been done is not done twice.

    Also when the page did without what it could not read. The request is then again as it came: the first attempt may
    have sent a cookie with the answer that nobody gets, and noted on the request that it is sent.
    """
    attributes, meta = vars(request).copy(), request.META.copy()
    may_repeat = request.method in SAFE and meta.get("CONTENT_LENGTH", "") in ("", "0")  # a body is read only once
    while True:
        failures = known.failures
        yield
        if known.failures == failures or known.written or not may_repeat:
            break
        known.start_again()
        vars(request).clear()
        vars(request).update(attributes, META=meta.copy())


def _keep_state(response: HttpResponseBase) -> None:
    """What a streamed response still reads is read as the request does; an asynchronous one reads from the primaries.
    (What it reads or writes, its visitor is not promised to see next: the cookies have gone ahead.)"""
    if isinstance(response, StreamingHttpResponse) and not (response.is_async or isinstance(response, FileResponse)):
        context, chunks = copy_context(), iter(response)
        response.streaming_content = iter(lambda: context.run(next, chunks, None), None)


def _carry_on(response: HttpResponseBase, known: RoutingState, brought: Mapping[str, Positions]) -> None:
    found = outstanding(reached(known))
    if list(brought.values()) != ([found] if found else []):
        positions.send(response, found, instead_of=brought)
    session = response.cookies.get(settings.SESSION_COOKIE_NAME)
    if known.stale and session is not None and session["max-age"] == 0:
        # A replica may lack a new session, which is no reason to sign its owner out for good.
        del response.cookies[settings.SESSION_COOKIE_NAME]
