"""The site that consistency.py visits, in web processes of its own: the project's settings with its router, or with
one of the controls, which do what is often recommended instead.

A row of django_session is a counter that one visitor raises. A page shows the visitor's own, and then all of them.
"""

import os
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from routers import health, middleware, read_write_split
from routers.health import Health
from routers.positions import Positions
from routers.topology import topology

VARIABLE = "CONSISTENCY_VARIANT"
PIN_SECONDS = 2
CENTRAL = "routers.central.DatabaseRouter"

_pinned: ContextVar[bool] = ContextVar("pinned", default=False)


def read(request: HttpRequest, visitor: str) -> HttpResponse:
    from django.contrib.sessions.models import Session  # once Django is set up, and not where the visitors are

    own = Session.objects.get(pk=visitor)
    counters = {row.pk: int(row.session_data) for row in Session.objects.all()}
    return JsonResponse({"alias": own._state.db, "own": int(own.session_data), "all": counters})


def write(request: HttpRequest, visitor: str, value: int) -> HttpResponse:
    from django.contrib.sessions.models import Session

    Session.objects.filter(pk=visitor).update(session_data=str(value))
    return HttpResponse()


urlpatterns = [path("<slug:visitor>/", read), path("<slug:visitor>/<int:value>/", write)]


class RandomRouter:
    """Every read to any replica."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        cluster = topology().cluster_of_app(model._meta.app_label)
        return random.choice(cluster.replicas) if cluster and cluster.replicas and not _pinned.get() else None


class PinMiddleware:
    """Every read to the primary for two seconds after a write of the same visitor."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _pinned.set(time.time() < float(request.COOKIES.get("pinned_until", 0)))
        try:
            response = self.get_response(request)
        finally:
            _pinned.reset(token)
        if request.method == "POST":
            response.set_cookie("pinned_until", str(time.time() + PIN_SECONDS), max_age=PIN_SECONDS)
        return response


def ours() -> None:
    settings.MIDDLEWARE = ["routers.middleware.RoutingMiddleware"]


def plain_random() -> None:
    settings.MIDDLEWARE = []
    settings.DATABASE_ROUTERS = [f"{__name__}.RandomRouter", CENTRAL]


def pin() -> None:
    plain_random()
    settings.MIDDLEWARE = [f"{__name__}.PinMiddleware"]


def received() -> None:
    """What a replica has received counts as if it had been replayed."""

    def as_received(alias: str) -> Health:
        found = health.health(alias)
        return replace(found, replayed=found.received)

    ours()
    vars(read_write_split)["health"] = as_received
    vars(read_write_split)["WAIT"] = read_write_split.WAIT.replace("last_wal_replay", "last_wal_receive")


def forgets() -> None:
    """A position is dropped as soon as one replica has passed it."""
    replicas = {cluster.name: cluster.replicas for cluster in topology().clusters}

    def outstanding(positions: Positions) -> Positions:
        return {
            name: position
            for name, position in positions.items()
            if not any(read_write_split.has_passed(alias, position) for alias in replicas[name])
        }

    ours()
    vars(middleware)["outstanding"] = outstanding


OURS = "ours"
VARIANTS = {
    OURS: ours,
    "plain random": plain_random,
    "2-second pin": pin,
    "received, not replayed": received,
    "forgets after one": forgets,
}


def application() -> Any:
    """What gunicorn serves."""
    settings.ROOT_URLCONF = __name__
    VARIANTS[os.environ[VARIABLE]]()
    return get_wsgi_application()
