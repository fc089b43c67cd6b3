"""Which databases served a response, and what is shown of it to whom."""

import logging
import re
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connections
from django.db.models import Value
from django.test import AsyncClient, Client
from pytest_django import Settings

from apps.monitoring import ledger
from apps.monitoring.ledger import EXPLICIT, Ledger, Statement, note, observe, open_ledger, queries_text
from routers.state import routing_state
from routers.topology import topology

pytestmark = pytest.mark.usefixtures("own_urls")
users_db = pytest.mark.django_db(databases=["users_db"])


def body(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def entered() -> Ledger:
    """A ledger of one query on the sessions, made the way a request makes it."""
    with routing_state(), open_ledger() as opened:
        list(Session.objects.all())
    return opened


@users_db
def test_page_shows_alias_figures_reason_and_sql(client: Client) -> None:
    html = body(client, "/page")
    assert "This page took 1 query on 1 database" in html
    assert '<span class="badge db-2">users_db</span>' in html
    assert "transaction: one is open there" in html
    assert "FROM &quot;django_session&quot;" in html


@users_db
def test_parameter_values_are_nowhere_in_page_or_header(client: Client) -> None:
    response = client.get("/page")
    assert b"%s" in response.content
    assert "secret" not in response.content.decode() + str(response.headers)


@users_db
def test_content_length_is_that_of_the_page_with_its_ledger(client: Client) -> None:
    response = client.get("/page")
    assert int(response["Content-Length"]) == len(response.content)
    assert "Grüße" in response.content.decode()


@users_db
def test_server_timing_is_on_html_and_json_and_streams(client: Client) -> None:
    for path in ("/page", "/json", "/streamed"):
        timing = client.get(path)["Server-Timing"]
        assert re.fullmatch(r'db-users_db;desc="1 query";dur=\d+\.\d', timing), path


def test_server_timing_has_only_token_characters_for_an_odd_alias() -> None:
    opened = Ledger()
    opened.enter('od"d;db', Statement("SELECT 1", EXPLICIT, 1.0, 1, failed=False))
    assert opened.server_timing() == 'db-od_d_db;desc="1 query";dur=1.0'


@users_db
def test_json_and_streams_keep_their_content(client: Client) -> None:
    assert client.get("/json").json() == {"marker": "<!-- ledger -->"}
    assert b"".join(client.get("/streamed").streaming_content) == b"<!-- ledger -->"  # type: ignore[attr-defined]


def test_page_without_queries_says_so_and_has_no_timing(client: Client) -> None:
    response = client.get("/silent")
    assert b"This page took no query." in response.content
    assert "Server-Timing" not in response


def test_note_is_shown_escaped(client: Client) -> None:
    assert "<li>The &lt;events&gt; wait.</li>" in body(client, "/noted")


def test_note_outside_a_request_is_no_error() -> None:
    note("Nobody listens.")


@users_db
def test_only_the_first_statements_are_kept_and_each_is_cut(client: Client) -> None:
    html = body(client, "/many")
    assert "This page took 250 queries on 1 database," in html
    assert html.count("<code>") == 200
    assert "50 more are counted but not listed." in html
    assert max(len(sql) for sql in re.findall("<code>(.*?)</code>", html)) == 2000


@users_db
def test_executemany_is_one_query_that_tells_how_many_sets_it_sent(client: Client) -> None:
    html = body(client, "/batch")
    assert "3 sets of values" in html
    assert EXPLICIT in html
    assert "transaction" in html  # the savepoint around it


@users_db
def test_failed_statement_is_shown_as_failed(client: Client) -> None:
    html = body(client, "/caught")
    assert "(1 failed)" in html
    assert "Failed, " in html


@users_db
def test_query_with_using_is_explicit() -> None:
    with routing_state(), open_ledger() as opened:
        list(Session.objects.using("users_db"))
    assert dict(opened.by_alias["users_db"].reasons) == {EXPLICIT: 1}


@users_db
def test_saving_the_session_is_counted(client: Client) -> None:
    timing = client.get("/in-session")["Server-Timing"]
    assert timing.startswith("db-users_db;")


@users_db
def test_ledger_works_under_asgi() -> None:
    response = async_to_sync(AsyncClient().get)("/page")
    assert response["Server-Timing"].startswith('db-users_db;desc="1 query"')
    assert b"transaction: one is open there" in response.content


@users_db
def test_another_thread_does_not_write_to_the_ledger_of_the_request() -> None:
    seen: list[Ledger | None] = []
    with open_ledger():
        thread = threading.Thread(target=lambda: seen.append(ledger._ledger.get()))
        thread.start()
        thread.join()
    assert seen == [None]


@users_db
def test_accounts_follow_the_topology() -> None:
    opened = Ledger()
    aliases = [alias for cluster in topology().clusters for alias in cluster.aliases]
    for alias in ["unknown", *reversed(aliases)]:
        opened.enter(alias, Statement("SELECT 1", EXPLICIT, 1.0, 1, failed=False))
    assert [account.alias for account in opened.accounts] == [*aliases, "unknown"]


@users_db
def test_observer_is_on_a_connection_once_however_often_it_is_made() -> None:
    for _ in range(2):
        ledger.observe_connection(connection=connections["users_db"])
    assert connections["users_db"].execute_wrappers.count(observe) == 1


@users_db
def test_observer_survives_a_wrapper_whose_block_ends_after_the_connection_was_made() -> None:
    connection = connections["users_db"]
    before = list(connection.execute_wrappers)
    connection.execute_wrappers.clear()
    try:
        with connection.execute_wrapper(lambda execute, *args: execute(*args)):
            ledger.observe_connection(connection=connection)
        assert connection.execute_wrappers == [observe]
    finally:
        connection.execute_wrappers[:] = before


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ('SELECT "a"."b" FROM "a" INNER JOIN "c" ON 1', ["a"]),
        ("SELECT `a`.`b` FROM `a`", ["a"]),
        ("select x from a where y", ["a"]),
        ('SELECT COUNT(*) FROM (SELECT 1 FROM "a") subquery', ["a"]),
        ('SELECT (SELECT COUNT(*) FROM "a" U0) FROM "b"', ["a", "b"]),
        ('SELECT EXTRACT(YEAR FROM "a"."created") FROM "a"', ["a", "created", "a"]),
        ("SELECT EXTRACT(YEAR FROM CONVERT_TZ(`a`.`b`, 'UTC', 'UTC')) FROM `a`", ["a"]),
        ('SELECT 1 FROM "public"."a"', ["public", "a"]),
        ('INSERT INTO "a" ("b") VALUES (%s)', ["a"]),
        ('UPDATE "a" SET "b" = %s', ["a"]),
        ('DELETE FROM "a" WHERE "b" IN (SELECT "c" FROM "d")', ["a", "d"]),
        ('WITH x AS (SELECT 1 FROM "a") SELECT * FROM x', ["a", "x"]),
        ('SELECT 1 FROM "a" FOR UPDATE', ["a"]),
        ("SELECT 1", []),
        ("", []),
    ],
)
def test_tables_of_a_statement(sql: str, tables: list[str]) -> None:
    assert list(ledger._tables(sql)) == tables


@pytest.mark.parametrize("sql", ["BEGIN IMMEDIATE", "SAVEPOINT x", " release savepoint x", "ROLLBACK TO x", "COMMIT"])
def test_transaction_statements_are_named_so(sql: str) -> None:
    assert ledger.reason("users_db", sql) == "transaction"


@users_db
def test_wide_select_has_the_reason_of_the_table_that_it_names_late() -> None:
    wide = {f"column_{number}": Value(number) for number in range(100)}
    with routing_state(), open_ledger() as opened:
        list(Session.objects.annotate(**wide))
    (statement,) = opened.by_alias["users_db"].statements
    assert len(statement.sql) == ledger.MAX_SQL
    assert statement.reason != EXPLICIT


def test_statement_that_is_no_string_does_not_show_its_values() -> None:
    from psycopg.sql import SQL, Literal

    assert ledger._shown(SQL("SELECT {}").format(Literal("secret"))) == "<Composed>"


def test_grammar() -> None:
    assert [queries_text(n) for n in (0, 1, 2)] == ["0 queries", "1 query", "2 queries"]


@pytest.fixture
def production(settings: Settings) -> None:
    settings.DEMO = settings.DEBUG = False


@pytest.mark.usefixtures("production")
def test_in_production_the_page_has_neither_ledger_nor_marker(client: Client) -> None:
    response = client.get("/silent")
    assert response.content.decode() == "<main>Grüße</main><footer></footer>"
    assert int(response["Content-Length"]) == len(response.content)


@users_db
@pytest.mark.usefixtures("production")
def test_in_production_a_visitor_who_asks_gets_nothing(client: Client) -> None:
    user = get_user_model().objects.create_user("ann", "ann@example.org", "pw")
    for login in (False, True):
        if login:
            client.force_login(user)
        response = client.get("/page?ledger")
        assert "Server-Timing" not in response
        assert b"ledger" not in response.content


@users_db
@pytest.mark.usefixtures("production")
def test_in_production_staff_get_it_when_they_ask_and_no_cache_keeps_it(client: Client) -> None:
    client.force_login(get_user_model().objects.create_user("bo", "bo@example.org", "pw", is_staff=True))
    assert "Server-Timing" not in client.get("/page")
    response = client.get("/page?ledger")
    assert b'class="ledger"' in response.content
    assert "Cookie" in response["Vary"]
    assert "no-store" in response["Cache-Control"]


@users_db
def test_slow_statement_is_logged_with_alias_and_placeholders(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SLOW_QUERY_MS = 0.000001
    with caplog.at_level(logging.WARNING, logger="apps.monitoring.slow"):
        list(Session.objects.filter(session_key="the secret key"))
    record: Any = caplog.records[0]
    assert record.alias == "users_db"
    assert "%s" in record.getMessage()
    assert "secret" not in record.getMessage()


@users_db
def test_slow_limit_of_zero_logs_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.SLOW_QUERY_MS = 0
    list(Session.objects.all())
    assert not caplog.records


@users_db
def test_ledger_counts_one_query_for_one_query() -> None:
    assert entered().by_alias["users_db"].queries == 1
