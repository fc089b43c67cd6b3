"""Each request has a routing state of its own, under sync and async servers alike."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import router
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from apps.blog.models import Post
from apps.users.models import User
from routers import state
from routers.middleware import RoutingMiddleware


def test_state_is_open_during_the_request_and_closed_after_it() -> None:
    seen: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        router.db_for_read(Post)
        seen.append(state.current())
        return HttpResponse()

    RoutingMiddleware(view)(HttpRequest())
    assert seen[0].reason_for("read_replica_1", "blog_post") == "replica: nothing binds you to the primary"
    assert state.current() is None


def test_concurrent_async_requests_do_not_see_each_other() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        model: Any = request.META["model"]
        router.db_for_read(model)
        await asyncio.sleep(0)
        found = state.current()
        assert found is not None
        return HttpResponse(" ".join(alias for alias, _ in found.decisions))

    async def both() -> list[bytes]:
        middleware: Any = RoutingMiddleware(view)
        requests = [HttpRequest(), HttpRequest()]
        for request, model in zip(requests, (Post, User), strict=True):
            request.META["model"] = model
        responses = await asyncio.gather(*(middleware(request) for request in requests))
        return [response.content for response in responses]

    assert asyncio.run(both()) == [b"read_replica_1", b"users_replica_1"]


@pytest.mark.parametrize(("stale", "is_kept"), [({"users"}, True), (set(), False)])
def test_session_that_a_stale_replica_lacks_is_not_taken_away(stale: set[str], is_kept: bool) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        known = state.current()
        assert known is not None
        known.stale |= stale
        response = HttpResponse()
        response.delete_cookie("sessionid")
        return response

    response: Any = RoutingMiddleware(view)(HttpRequest())
    assert ("sessionid" not in response.cookies) is is_kept


def streamed() -> Iterator[bytes]:
    yield router.db_for_read(Post).encode()
    yield router.db_for_read(Post).encode()


def test_what_is_streamed_is_read_as_the_request_reads() -> None:
    response: Any = RoutingMiddleware(lambda request: StreamingHttpResponse(streamed()))(HttpRequest())
    assert list(response) == [b"read_replica_1"] * 2
    assert state.current() is None


def test_what_is_streamed_under_an_async_server_is_read_as_the_request_reads() -> None:
    async def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(streamed())

    async def body() -> list[bytes]:
        middleware: Any = RoutingMiddleware(view)
        response = await middleware(HttpRequest())
        with pytest.warns(Warning, match="must consume synchronous iterators"):
            return [chunk async for chunk in response]

    assert asyncio.run(body()) == [b"read_replica_1"] * 2


@pytest.mark.parametrize(
    ("method", "body", "wrote", "attempts"),
    [
        ("GET", "", False, 2),
        ("OPTIONS", "", False, 2),
        ("GET", "{}", False, 1),
        ("GET", "", True, 1),
        ("POST", "", False, 1),
    ],
)
def test_only_a_safe_request_without_a_body_that_wrote_nothing_is_run_again(
    method: str, body: str, wrote: bool, attempts: int
) -> None:
    runs = []

    def view(request: HttpRequest) -> HttpResponse:
        known = state.current()
        assert known is not None
        runs.append(known)
        if len(runs) == 1:
            known.mark(known.avoided, "read_replica_1")
            if wrote:
                known.mark(known.written, "blog")
        return HttpResponse()

    request = HttpRequest()
    request.method, request.META["CONTENT_LENGTH"] = method, str(len(body) or "")
    RoutingMiddleware(view)(request)
    assert len(runs) == attempts
