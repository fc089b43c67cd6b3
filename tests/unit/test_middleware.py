"""Each request has a routing state of its own, under sync and async servers alike."""

import asyncio
from typing import Any

from django.db import router
from django.http import HttpRequest, HttpResponse

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
    assert seen[0].reason_for("default", "blog_post") == "app: blog lives on default"
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

    assert asyncio.run(both()) == [b"default", b"users_db"]
