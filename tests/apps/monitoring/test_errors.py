"""What the visitor and the log get when a database is out, and when we are at fault."""

import logging
import socket
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, OperationalError, connections, router
from django.test import Client
from django.utils.functional import SimpleLazyObject

from apps.monitoring.logging import AliasFilter
from routers.central import DatabaseRouter
from routers.errors import alias_of, is_full, is_outage
from tests.apps.outbox.conftest import full

pytestmark = pytest.mark.usefixtures("own_urls")


@pytest.fixture
def visitor() -> Client:
    """Gets the page that an exception leads to, not the exception."""
    return Client(raise_request_exception=False)


def caught(alias: str, sql: str = "") -> Exception:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql)
    except Exception as error:
        return error
    raise AssertionError("The statement was to fail.")


class SessionsOnBroken(DatabaseRouter):
    """Sessions are read where they are and written to a database that is out."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "broken" if model._meta.label == "sessions.Session" else super().db_for_write(model, **hints)


@pytest.mark.parametrize("path", ["/outage", "/wrapped"])
@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_outage_is_a_503_that_says_when_to_come_back(visitor: Client, broken: str, path: str, method: str) -> None:
    response = getattr(visitor, method)(path)
    assert (response.status_code, response["Retry-After"], response["Cache-Control"]) == (503, "10", "no-store")
    if method != "head":
        assert b"This page will be back" in response.content


@pytest.mark.django_db(databases=["users_db"])
@pytest.mark.parametrize("path", ["/missing-table", "/mistake"])
def test_our_own_mistake_is_a_500_even_where_sqlite_calls_it_operational(visitor: Client, path: str) -> None:
    response = visitor.get(path)
    assert (response.status_code, response["Cache-Control"]) == (500, "no-store")
    assert "Retry-After" not in response
    assert b"Something went wrong on our side" in response.content


@pytest.mark.django_db(databases=["users_db"])
def test_new_session_that_cannot_be_saved_is_a_503(
    visitor: Client, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "routers", [SessionsOnBroken()])
    assert visitor.get("/in-session").status_code == 503


@pytest.mark.django_db(databases=["users_db"])
def test_known_session_that_cannot_be_saved_is_a_503_and_not_a_400(
    visitor: Client, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore()
    store.create()
    visitor.cookies["sessionid"] = str(store.session_key)
    monkeypatch.setattr(router, "routers", [SessionsOnBroken()])
    assert visitor.get("/in-session").status_code == 503


def test_bad_request_stays_a_400(visitor: Client) -> None:
    assert visitor.get("/silent", HTTP_HOST="elsewhere.example").status_code == 400


def test_error_pages_need_no_database(client: Client, broken: str) -> None:
    """The test declares no database of the project, so that asking one would fail."""
    client.raise_request_exception = False
    client.cookies["sessionid"] = "somebody's"
    assert client.get("/outage").status_code == 503


@pytest.mark.django_db(databases=["users_db"])
@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere", "SELECT nothing FROM django_session", "SELEC 1"])
def test_wrong_sql_is_no_outage(sql: str) -> None:
    assert not is_outage(caught("users_db", sql))


def test_file_that_cannot_be_opened_is_an_outage(broken: str) -> None:
    error = caught(broken)
    assert isinstance(error, OperationalError)
    assert is_outage(error)


def test_unknown_column_on_mysql_is_no_outage_but_a_lost_server_is() -> None:
    assert not is_outage(OperationalError(1054, "Unknown column 'x' in 'field list'"))
    assert not is_outage(OperationalError(1969, "Query execution was interrupted (max_statement_time exceeded)"))
    assert not is_outage(OperationalError(3024, "Query execution was interrupted, maximum statement execution time"))
    assert is_outage(OperationalError(2006, "Server has gone away"))


@pytest.mark.parametrize(
    ("state", "outage"),
    [
        ("08006", True),  # connection failure
        ("53300", True),  # too many connections
        ("57P01", True),  # the administrator ended it
        ("57P02", True),  # another session crashed
        ("57P03", True),  # it is starting
        ("55P03", True),  # somebody holds a lock for too long
        ("54000", False),  # a statement beyond the limits of the program
        ("57014", False),  # cancelled, by a time limit or a person
        ("40001", False),  # in conflict with recovery, on a standby
        ("40P01", False),  # deadlock
    ],
)
def test_postgresql_says_by_its_code_whether_it_is_out(state: str, outage: bool) -> None:
    error = OperationalError("…")
    error.__cause__ = psycopg.errors.lookup(state)("…")
    assert is_outage(error) is outage


@pytest.mark.sqlite("cache_db")
@pytest.mark.django_db(databases=["cache_db"])
def test_sqlite_file_without_room_is_full_and_says_so_behind_other_exceptions() -> None:
    with full("cache_db"):
        error = caught("cache_db", "CREATE TABLE big AS SELECT zeroblob(1000000)")
    outer = RuntimeError("later")
    outer.__cause__ = error
    assert is_full(error)
    assert is_full(outer)


@pytest.mark.parametrize(("state", "is_so"), [("53100", True), ("53200", False), ("57P03", False)])
def test_postgresql_says_by_its_code_whether_it_is_full(state: str, is_so: bool) -> None:
    error = OperationalError("…")
    error.__cause__ = psycopg.errors.lookup(state)("…")
    assert is_full(error) is is_so


@pytest.mark.parametrize(("code", "is_so"), [(1021, True), (1114, True), (1040, False), (2006, False)])
def test_mysql_says_by_its_number_whether_it_is_full(code: int, is_so: bool) -> None:
    assert is_full(OperationalError(code, "…")) is is_so


@pytest.mark.parametrize("error", [None, ValueError(1021), OperationalError("…"), OperationalError()])
def test_other_errors_say_of_nothing_that_it_is_full(error: Exception | None) -> None:
    assert not is_full(error)


def test_postgresql_that_gives_no_code_is_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(host="127.0.0.1", port=port, connect_timeout=2)
    error = OperationalError("…")
    error.__cause__ = refused.value
    assert is_outage(error)


def test_outage_that_was_explicitly_left_behind_is_not_blamed(broken: str) -> None:
    later = ValueError("Something else.")
    later.__context__, later.__suppress_context__ = caught(broken), True  # what `raise … from None` leaves
    assert not is_outage(later)


def test_alias_is_found_in_a_failed_connection(broken: str) -> None:
    assert alias_of(caught(broken)) == broken


@pytest.mark.django_db(databases=["users_db"])
def test_alias_is_found_in_a_failed_statement_and_behind_another_exception() -> None:
    error = caught("users_db", "SELECT * FROM nowhere")
    assert alias_of(error) == "users_db"
    outer = RuntimeError("later")
    outer.__cause__ = error
    assert alias_of(outer) == "users_db"


def test_alias_of_an_exception_without_a_database_is_none() -> None:
    assert alias_of(None) is None
    assert alias_of(ValueError()) is None


def test_looking_for_the_alias_wakes_no_lazy_object() -> None:
    def fail(self: object) -> None:
        raise ValueError("here")

    woken: list[bool] = []
    with pytest.raises(ValueError) as failure:
        fail(SimpleLazyObject(lambda: woken.append(True)))
    assert alias_of(failure.value) is None
    assert not woken


def record(**extra: Any) -> logging.LogRecord:
    return logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "text", (), None, extra=extra)


def filtered(made: logging.LogRecord) -> str:
    assert AliasFilter().filter(made)
    return str(made.alias)  # type: ignore[attr-defined]


def test_log_line_keeps_the_alias_it_was_given() -> None:
    assert filtered(record(alias="users_db")) == "users_db"


def test_log_line_takes_the_alias_of_its_exception(broken: str) -> None:
    made = record()
    error = caught(broken)
    made.exc_info = (type(error), error, error.__traceback__)
    assert filtered(made) == broken


def test_log_line_of_a_503_names_the_alias(visitor: Client, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    visitor.get("/outage")
    (made,) = [made for made in caplog.records if made.name == "django.request"]
    assert filtered(made) == broken


def test_log_line_without_a_database_has_a_dash() -> None:
    made = record()
    made.exc_info = sys.exc_info()
    assert filtered(made) == "-"


@pytest.mark.sqlite("cache_db")
@pytest.mark.django_db(databases=["cache_db"])
def test_file_that_is_no_database_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"this is no database" * 100)
    connection = connections["cache_db"].copy()
    # Without the statements that are sent while connecting: after one that fails, nobody closes the file.
    connection.settings_dict = {**connection.settings_dict, "NAME": str(tmp_path / "x"), "OPTIONS": {}}
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_master")
    connection.close()
    assert is_outage(caught.value)


def test_form_in_an_encoding_that_no_form_has_is_a_400_in_our_own_words(client: Client) -> None:
    kind = "application/x-www-form-urlencoded; charset=iso-8859-1"
    response = client.post("/users/login/", "username=x", content_type=kind)
    assert response.status_code == 400
    assert "That request makes no sense" in response.content.decode()
