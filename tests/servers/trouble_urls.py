"""The site, and beside it pages that a replica fails in one way or another, on purpose."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from apps.blog.models import Post, Tag
from config.urls import handler400, handler500  # noqa: F401 - Django looks for them here
from routers import middleware

if os.environ.get("WITHOUT_RETRY"):  # the control
    middleware.SAFE = ()  # type: ignore[assignment]

SLEEP = "pg_sleep(0.4)::text"
# On a standby each connection ends its own server process; on a primary nothing happens.
END = "CASE WHEN pg_is_in_recovery() THEN pg_terminate_backend(pg_backend_pid()) END"


def deadly_read() -> QuerySet[Post]:
    return Post.objects.annotate(ended=RawSQL(END, []))


def dying(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{len(deadly_read())} posts")


def with_form(request: HttpRequest) -> HttpResponse:
    """The token is given out before the page fails."""
    token = get_token(request)
    return HttpResponse(f"{len(deadly_read())} posts, {token}")


def caught(request: HttpRequest) -> HttpResponse:
    try:
        return HttpResponse(f"{len(deadly_read())} posts")
    except DatabaseError:
        return HttpResponse("nothing to be had")


@csrf_exempt
def written(request: HttpRequest) -> HttpResponse:
    """Writes what it is sent, then fails."""
    Tag.objects.using("default").create(name=request.POST["name"], slug=request.POST["name"])
    return HttpResponse(f"{len(deadly_read().using('read_replica_1'))} posts")


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    """Fails once the response has begun."""

    def rows() -> Iterator[str]:
        yield "begun, "
        yield f"{len(deadly_read().using('read_replica_1'))} posts"

    return StreamingHttpResponse(rows())


def by_cursor(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{len(list(deadly_read().iterator(chunk_size=1)))} posts")


async def asynchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{len([post async for post in deadly_read()])} posts")


async def from_thread(request: HttpRequest) -> HttpResponse:
    return await sync_to_async(dying)(request)


def slow(request: HttpRequest) -> HttpResponse:
    """Reads a table for a while."""
    return HttpResponse(f"{len(Post.objects.annotate(slept=RawSQL(SLEEP, []))[:1])} posts")


VIEWS: list[Callable[..., Any]] = [
    dying, with_form, caught, written, streamed, by_cursor, asynchronous, from_thread, slow,
]  # fmt: skip
urlpatterns = [*(path(f"{view.__name__}/", view) for view in VIEWS), path("", include("config.urls"))]
