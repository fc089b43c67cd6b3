"""Pages that query, fail and stream, beside the real ones."""

from collections.abc import Iterator

from django.contrib.sessions.models import Session
from django.db import DatabaseError, connections, router, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path

from apps.monitoring.ledger import note
from apps.monitoring.templatetags.databases import LEDGER_PLACEHOLDER

handler400 = "apps.monitoring.views.bad_request"
handler500 = "apps.monitoring.views.server_error"

PAGE = f"<main>Grüße</main><footer>{LEDGER_PLACEHOLDER}</footer>"


def sessions() -> None:
    list(Session.objects.filter(session_key="the secret key"))


def page(request: HttpRequest) -> HttpResponse:
    sessions()
    return HttpResponse(PAGE)


def silent(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def noted(request: HttpRequest) -> HttpResponse:
    note("The <events> wait.")
    return HttpResponse(PAGE)


def many(request: HttpRequest) -> HttpResponse:
    with connections[router.db_for_write(Session)].cursor() as cursor:
        for _ in range(250):
            cursor.execute(f"SELECT 1 AS {'x' * 3000}")
    return HttpResponse(PAGE)


def batch(request: HttpRequest) -> HttpResponse:
    alias = "users_db"
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.executemany("DELETE FROM django_session WHERE session_key = %s", [["a"], ["b"], ["c"]])
    return HttpResponse(PAGE)


def caught(request: HttpRequest) -> HttpResponse:
    try:
        with transaction.atomic(using=router.db_for_write(Session)), connections["users_db"].cursor() as cursor:
            cursor.execute("SELECT * FROM nowhere")
    except DatabaseError:
        return HttpResponse(PAGE)
    return HttpResponse("not reached", status=500)


def json(request: HttpRequest) -> HttpResponse:
    sessions()
    return JsonResponse({"marker": LEDGER_PLACEHOLDER})


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    def rows() -> Iterator[str]:
        yield LEDGER_PLACEHOLDER

    sessions()
    return StreamingHttpResponse(rows(), content_type="text/html")


def outage(request: HttpRequest) -> HttpResponse:
    connections["broken"].cursor()
    return HttpResponse("not reached")


def missing_table(request: HttpRequest) -> HttpResponse:
    with connections[router.db_for_read(Session)].cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")
    return HttpResponse("not reached")


def mistake(request: HttpRequest) -> HttpResponse:
    raise ValueError("A mistake of ours.")


def wrapped(request: HttpRequest) -> HttpResponse:
    try:
        connections["broken"].cursor()
    except DatabaseError as error:
        raise RuntimeError("The figures could not be fetched.") from error
    return HttpResponse("not reached")


def in_session(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = True
    return HttpResponse("saved")


urlpatterns = [
    path("page", page),
    path("silent", silent),
    path("noted", noted),
    path("many", many),
    path("batch", batch),
    path("caught", caught),
    path("json", json),
    path("streamed", streamed),
    path("outage", outage),
    path("missing-table", missing_table),
    path("mistake", mistake),
    path("wrapped", wrapped),
    path("in-session", in_session),
    path("", include("config.urls")),
]
