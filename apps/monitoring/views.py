"""The state of the databases, for people and for load balancers, and the pages for when something is wrong."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.monitoring.access import is_public, staff_outside_demo
from apps.monitoring.diagram import diagram
from apps.monitoring.ledger import note
from apps.monitoring.probes import Status, probe_all
from routers.errors import has_failed_as_replica, is_outage
from routers.topology import Cluster, topology

RETRY_SECONDS = 10
WATCH_SECONDS = 2
# Names of fields whose values no page repeats.
SECRET = re.compile(r"pass|secret|token|card|(^|[_-])(pin|otp|code|cvc|cvv|key)([_-]|$)", re.I)
# Of the second in which /readyz has to answer: for the first answers after the process has started, and for finding out
# whether the databases that it needs hold any tables, and what waits in each outbox.
READY_SECONDS, READY_FACTS_SECONDS = 0.6, 0.2


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process is alive. Asks no database."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether the site can serve its main pages: 200 when it can ("ok", or "degraded" when some database is out, also a
    primary whose replica is still read, or messages are late or given up), 503 ("down") when the rows of one of
    READINESS_APPS cannot be read from any. Each alias's state only for whom it concerns.
    """
    needed = _primaries(settings.READINESS_APPS) | _users_primaries()
    statuses = probe_all(timeout=READY_SECONDS, facts_of=needed, facts_timeout=READY_FACTS_SECONDS)
    state = readiness(statuses)
    answer: dict[str, object] = {"status": state}
    if _may_see_details(request, statuses):
        answer["databases"] = {status.alias: _summary(status) for status in statuses}
    return JsonResponse(answer, status=503 if state == "down" else 200)


@require_safe
@staff_outside_demo
def databases(request: HttpRequest) -> HttpResponse:
    """The topology from live state; with ?watch the browser asks for it again and again."""
    statuses = probe_all()
    note("The prober looks at each database over a connection of its own, which is not counted here.")
    if not _users_answer(statuses):
        request.user = AnonymousUser()  # the header asks who it is; this page has to render all the same
    watched = "watch" in request.GET
    context = {
        "statuses": statuses,
        "diagram": diagram(statuses),
        "down": [status for status in statuses if not status.is_up],
        "senders": [status for status in statuses if status.messages],
        "watched": watched,
    }
    response = render(request, "monitoring/databases.html", context)
    if watched:
        response["Refresh"] = str(WATCH_SECONDS)
    return response


def readiness(statuses: Sequence[Status]) -> str:
    """ "ok", "degraded" or "down"."""
    found = {status.alias: status for status in statuses}
    if not all(_can_be_read(cluster, found) for cluster in _clusters(settings.READINESS_APPS)):
        return "down"
    is_well = all(each.is_usable and not (each.messages and each.messages.remark) for each in found.values())
    return "ok" if is_well else "degraded"


def _can_be_read(cluster: Cluster, found: Mapping[str, Status]) -> bool:
    """A replica stands in for a primary that is gone; not for one that is there and has no tables."""
    primary = found[cluster.primary]
    return primary.is_usable if primary.is_up else any(found[alias].is_up for alias in cluster.replicas)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: a page that says "later" when a database is out, or a replica had to let go of a read, and one that
    says "our mistake" otherwise."""
    if has_failed_as_replica(sys.exc_info()[1]):
        return _bare("503.html", 503, {"Retry-After": str(RETRY_SECONDS)}, _to_send_again(request))
    return _bare("500.html", 500, {})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: a session that could not be saved is an outage; the session middleware takes it for one that somebody
    has deleted. Anything else is a request that makes no sense."""
    return server_error(request) if is_outage(exception) else _bare("400.html", 400, {})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _bare("403_csrf.html", 403, {})


def _bare(
    template: str, status: int, headers: dict[str, str], context: dict[str, object] | None = None
) -> HttpResponse:
    """Without the request: no context processor runs, so nothing is asked of any database."""
    headers = {"Cache-Control": "no-store", **headers}
    return HttpResponse(render_to_string(template, context), status=status, headers=headers)


def _to_send_again(request: HttpRequest) -> dict[str, object]:
    """What a form had sent, for another one to send it once more: nothing that is secret, and no file."""
    if not request.POST:
        return {}
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        for value in values
        if name != "csrfmiddlewaretoken" and not _is_secret(name, request)
    ]
    texts = [(name.replace("_", " ").capitalize(), name, value) for name, value in fields if _is_text(value)]
    hidden = [(name, value) for name, value in fields if not _is_text(value)]
    return {"texts": texts, "hidden": hidden, "token": get_token(request)}


def _is_secret(name: str, request: HttpRequest) -> bool:
    """By its name, or by what the view says with Django's sensitive_post_parameters()."""
    declared = getattr(request, "sensitive_post_parameters", ())
    return declared == "__ALL__" or name in declared or bool(SECRET.search(name))


def _is_text(value: str) -> bool:
    """Words, which somebody has typed, rather than the key of a choice."""
    return len(value.split()) > 1


def _clusters(labels: Iterable[str]) -> set[Cluster]:
    return {cluster for label in labels for cluster in topology().clusters_of_app(label)}


def _primaries(labels: Iterable[str]) -> set[str]:
    return {cluster.primary for cluster in _clusters(labels)}


def _users_primaries() -> set[str]:
    return _primaries([settings.AUTH_USER_MODEL.partition(".")[0], "sessions"])


def _may_see_details(request: HttpRequest, statuses: Sequence[Status]) -> bool:
    if settings.READYZ_TOKEN:
        given = request.headers.get("Authorization", "")
        if constant_time_compare(given, f"Bearer {settings.READYZ_TOKEN}"):
            return True
    if not hasattr(request, "user"):  # it came by a name that is not ours
        return False
    return is_public() or (_users_answer(statuses) and bool(request.user.is_staff))


def _users_answer(statuses: Iterable[Status]) -> bool:
    """Whether it can be found out who is asking, without waiting for a server that hangs."""
    needed = _users_primaries()
    return all(status.facts and status.is_usable for status in statuses if status.alias in needed)


def _summary(status: Status) -> dict[str, object]:
    return {
        "state": status.state,
        "role": status.role,
        "cluster": status.cluster.name,
        "latency_ms": status.health.latency_ms,
        "lag_bytes": status.health.lag_bytes,
        "lag_seconds": status.health.lag_seconds,
        "since": status.health.since,
        "messages": status.messages and status.messages.as_dict(),
        "remark": status.remark,
    }
