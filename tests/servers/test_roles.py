"""The accounts of docker/postgres/roles.sql and docker/legacy/roles.sql: what each may not do is tried with it.

docs/privileges.md lists the same, and is held to it.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.project.conftest import ROOT, Site
from tests.servers.conftest import NAMES, python, tables, tables_of_apps_on
from tests.servers.processes import MySQL, PostgresWithRoles, password_of
from tests.servers.test_site import PAGES

DOCUMENT = ROOT / "docs/privileges.md"
DATABASES = ("blog", "users", "analytics", "postgres", "template1")
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
READ, ADD, WRITE, OWN = (set(PRIVILEGES[:number]) for number in (1, 2, 4, 7))


class Role(NamedTuple):
    """The databases that let it in, and its privileges on each table there."""

    reaches: tuple[str, ...]
    rows: set[str]


ROLES = {
    "blog_owner": Role(("blog",), OWN),
    "blog_app": Role(("blog",), WRITE),
    "blog_reader": Role(("blog",), READ),
    "users_owner": Role(("users",), OWN),
    "users_app": Role(("users",), WRITE),
    "users_reader": Role(("users",), READ),
    "analytics_owner": Role(("analytics",), OWN),
    "analytics_app": Role(("analytics",), ADD),
    "analytics_maintenance": Role(("analytics",), WRITE),
    "probe": Role(("blog", "users", "analytics"), set()),
    "replicator": Role((), set()),
}
READERS = ("blog_reader", "users_reader")
WRITERS = ("blog_app", "users_app", "analytics_app", "analytics_maintenance")
OWNERS = ("blog_owner", "users_owner", "analytics_owner")
GROUPS = {
    "everybody": (*OWNERS, *WRITERS, *READERS, "probe"),
    "all but the owners": (*WRITERS, *READERS, "probe"),
    "applications, maintenance": WRITERS,
    "readers": READERS,
}


class Attempt(NamedTuple):
    """Statements, separated by a semicolon, the last of which the server refuses with this SQLSTATE."""

    who: str
    where: str
    sql: str
    says: str

    @property
    def roles(self) -> tuple[str, ...]:
        return GROUPS.get(self.who, (self.who,))

    @property
    def cells(self) -> tuple[str, ...]:
        """Its line in the document."""
        return self.who, self.where, self.sql, self.says


DENIED, READ_ONLY = "42501", "25006"
INSERT = "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'n', now())"
UPDATE = "UPDATE django_migrations SET name = 'n'"
DELETE = "DELETE FROM django_migrations"
READ_WRITE = "SET default_transaction_read_only = off; "
UPSERT = "INSERT INTO analytics_analyticsreport (date) VALUES (now()) ON CONFLICT (date) DO UPDATE SET visitors = 0"

REFUSED = [
    *[
        Attempt("everybody", "primary", sql, DENIED)
        for sql in (
            "SET ROLE postgres",
            "CREATE ROLE r",
            "ALTER ROLE CURRENT_USER SUPERUSER",
            "CREATE DATABASE d",
            "ALTER SYSTEM SET fsync = off",
            "SET session_replication_role = replica",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_read_file('/etc/hostname')",
            "COPY (SELECT 1) TO '/tmp/file'",
            "COPY (SELECT 1) TO PROGRAM 'true'",
        )
    ],
    *[
        Attempt("all but the owners", "primary", sql, DENIED)
        for sql in (
            "CREATE TABLE public.t (n int)",
            "CREATE TEMPORARY TABLE t (n int)",
            "CREATE SCHEMA s",
            "SELECT lo_create(0)",
            "SET ROLE blog_owner",
            "GRANT blog_owner TO CURRENT_USER",
        )
    ],
    *[
        Attempt("applications, maintenance", "primary", sql, DENIED)
        for sql in (
            "DROP TABLE django_migrations",
            "TRUNCATE django_migrations",
            "ALTER TABLE django_migrations ADD n int",
            "ALTER TABLE django_migrations DISABLE TRIGGER ALL",
            "ALTER TABLE django_migrations OWNER TO CURRENT_USER",
            "CREATE INDEX ON django_migrations (app)",
            "SELECT setval('django_migrations_id_seq', 1)",
            "ALTER DEFAULT PRIVILEGES FOR ROLE blog_owner GRANT ALL ON TABLES TO CURRENT_USER",
        )
    ],
    # A warning: somebody with privileges but without the right to pass them on has granted none.
    Attempt("applications, maintenance", "primary", "GRANT SELECT ON django_migrations TO probe", "01007"),
    Attempt("blog_app", "primary", "SELECT 1 FROM users.public.users_user", "0A000"),
    *[Attempt("readers", "primary", sql, READ_ONLY) for sql in (INSERT, UPDATE, DELETE)],
    *[Attempt("readers", "primary", READ_WRITE + sql, DENIED) for sql in (INSERT, UPDATE, DELETE)],
    Attempt("readers", "primary", f"{READ_WRITE}SELECT nextval('django_migrations_id_seq')", DENIED),
    *[Attempt("readers", "standby", sql, READ_ONLY) for sql in (INSERT, UPDATE, DELETE)],
    *[Attempt("readers", "standby", READ_WRITE + sql, READ_ONLY) for sql in (INSERT, UPDATE, DELETE)],
    Attempt("applications, maintenance", "standby", INSERT, READ_ONLY),
    *[
        Attempt("analytics_app", "primary", sql, DENIED)
        for sql in (
            "UPDATE analytics_analyticsevent SET event_type = 'x'",
            "DELETE FROM analytics_analyticsevent",
            "SELECT 1 FROM analytics_analyticsevent FOR UPDATE",
            "UPDATE user_activity SET page_viewed = '/'",
            "DELETE FROM user_activity",
            "DELETE FROM analytics_analyticsreport",
            UPSERT,
        )
    ],
    Attempt("probe", "primary", "SELECT 1 FROM public.django_migrations", DENIED),
    Attempt("probe", "primary", "DELETE FROM public.django_migrations", DENIED),
]
# A privilege that is missing on a table, on a database, on the server: error numbers of MySQL and MariaDB alike.
COMMAND, DATABASE, SERVER = "1142", "1044", "1227"
REFUSED_BY_MYSQL = [
    Attempt("legacy_app", "legacy", sql, says)
    for sql, says in (
        ("INSERT INTO customers (customer_id) VALUES (1)", COMMAND),
        ("UPDATE customers SET city = 'x'", COMMAND),
        ("DELETE FROM ord_line", COMMAND),
        ("TRUNCATE TABLE ord_line", COMMAND),
        ("CREATE TABLE t (n int)", COMMAND),
        ("ALTER TABLE customers ADD n int", COMMAND),
        ("DROP TABLE customers", COMMAND),
        ("CREATE INDEX i ON customers (city)", COMMAND),
        ("GRANT SELECT ON legacy.* TO legacy_app", DATABASE),
        ("CREATE TEMPORARY TABLE t (n int)", DATABASE),
        ("CREATE DATABASE d", DATABASE),
        ("USE mysql", DATABASE),
        ("SELECT 1 FROM customers INTO OUTFILE '/tmp/file'", SERVER),
        ("SET GLOBAL max_connections = 1", SERVER),
        ("CREATE USER u", SERVER),
    )
]


def each(attempts: Iterable[Attempt]) -> pytest.MarkDecorator:
    cases = [(role, attempt) for attempt in attempts for role in attempt.roles]
    ids = [f"{role}-{attempt.where}-{attempt.sql}" for role, attempt in cases]
    return pytest.mark.parametrize(("role", "attempt"), cases, ids=ids)


@each(REFUSED)
def test_server_refuses(roles: PostgresWithRoles, migrated_roles: Site, role: str, attempt: Attempt) -> None:
    server = roles.primary if attempt.where == "primary" else roles.standbys[0]
    # Or it would refuse because it reads only, and say nothing of privileges.
    first = READ_WRITE if role in READERS and attempt.who != "readers" else ""
    with roles.connect(ROLES[role].reaches[0], user=role, on=server) as connection:
        *before, last = f"{first}{attempt.sql}".split("; ")
        for statement in before:
            connection.execute(statement)
        assert answer_of(connection, last) == attempt.says


def answer_of(connection: psycopg.Connection[Any], statement: str) -> str | None:
    """The SQLSTATE of the error, else of the warning; None when it was done without one."""
    said: list[str | None] = []
    connection.add_notice_handler(lambda notice: said.append(notice.sqlstate))
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    return said[0] if said else None


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("role", ROLES)
def test_role_is_let_into_its_own_databases_alone(
    roles: PostgresWithRoles, migrated_roles: Site, role: str, database: str
) -> None:
    for server in (roles.primary, *roles.standbys):
        if database in ROLES[role].reaches:
            roles.connect(database, user=role, on=server).close()
            continue
        with pytest.raises(psycopg.OperationalError, match=f'permission denied for database "{database}"'):
            roles.connect(database, user=role, on=server)


def test_role_is_not_let_in_with_the_password_of_another(roles: PostgresWithRoles) -> None:
    address = f"host=127.0.0.1 port={roles.primary.port} dbname=blog user=blog_owner"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address, password=password_of("blog_app"))


@pytest.mark.parametrize("database", NAMES.values())
@pytest.mark.parametrize("role", ROLES)
def test_role_has_these_privileges_on_every_table_and_no_other(
    roles: PostgresWithRoles, migrated_roles: Site, role: str, database: str
) -> None:
    expected = ROLES[role].rows if database in ROLES[role].reaches else set()
    for table in tables(roles, database):
        sql = f"SELECT p FROM unnest(ARRAY{[*PRIVILEGES]}) p WHERE has_table_privilege('{role}', '{table}', p)"
        assert {privilege for (privilege,) in roles.query(database, sql, admin=True)} == expected, table


@pytest.mark.parametrize("alias", NAMES)
def test_database_holds_the_tables_of_its_apps_and_no_others(
    roles: PostgresWithRoles, migrated_roles: Site, alias: str
) -> None:
    assert tables(roles, NAMES[alias]) == tables_of_apps_on(alias)
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert roles.query(NAMES[alias], owners, admin=True) == [(f"{NAMES[alias]}_owner",)]


@pytest.fixture
def later_table(roles: PostgresWithRoles) -> Iterator[str]:
    """A table of analytics that a later migration made."""
    with roles.connect("analytics", user="analytics_owner") as owner:
        owner.execute("CREATE TABLE later (id bigint GENERATED BY DEFAULT AS IDENTITY, serial serial, n int)")
        yield "later"
        owner.execute("DROP TABLE later")


def test_privileges_hold_for_tables_of_later_migrations(roles: PostgresWithRoles, later_table: str) -> None:
    with roles.connect("analytics", user="analytics_app") as app:
        app.execute(f"INSERT INTO {later_table} (n) VALUES (1), (2)")
        assert app.execute(f"SELECT serial, n FROM {later_table}").fetchall() == [(1, 1), (2, 2)]
        assert answer_of(app, f"UPDATE {later_table} SET n = 3") == DENIED
    with roles.connect("analytics", user="analytics_maintenance") as maintenance:
        maintenance.execute(f"UPDATE {later_table} SET n = 3 WHERE n = 2")
        assert maintenance.execute(f"DELETE FROM {later_table} WHERE n = 3").rowcount == 1


def test_what_has_happened_is_added_by_the_application_and_mended_by_maintenance(
    roles: PostgresWithRoles, migrated_roles: Site
) -> None:
    values = "'tried', '', now(), '{}'"
    with roles.connect("analytics", user="analytics_app") as app:
        app.execute(f"INSERT INTO analytics_analyticsevent (event_type, session_id, timestamp, data) VALUES ({values})")
        found = app.execute("SELECT count(*) FROM analytics_analyticsevent WHERE event_type = 'tried'").fetchone()
        assert found == (1,)
    with roles.connect("analytics", user="analytics_maintenance") as maintenance:
        mend = "UPDATE analytics_analyticsevent SET event_type = 'mended' WHERE event_type = 'tried'"
        assert maintenance.execute(mend).rowcount == 1
        erase = "DELETE FROM analytics_analyticsevent WHERE event_type = 'mended'"
        assert maintenance.execute(erase).rowcount == 1


@pytest.mark.parametrize(("role", "sees"), [("probe", "streaming"), ("blog_app", None), ("blog_reader", None)])
def test_only_the_probing_role_sees_what_a_wal_receiver_does(
    roles: PostgresWithRoles, role: str, sees: str | None
) -> None:
    with roles.connect("blog", user=role, on=roles.standbys[0]) as connection:
        assert connection.execute("SELECT status FROM pg_stat_wal_receiver").fetchall() == [(sees,)]


def test_probing_role_reads_no_table(roles: PostgresWithRoles, migrated_roles: Site) -> None:
    for database in ROLES["probe"].reaches:
        with roles.connect(database, user="probe") as probe:
            for table in tables(roles, database):
                assert answer_of(probe, f"SELECT 1 FROM public.{table}") == DENIED, table


def test_standby_is_streamed_by_the_replicating_role(roles: PostgresWithRoles) -> None:
    assert roles.query("postgres", "SELECT DISTINCT usename FROM pg_stat_replication", admin=True) == [("replicator",)]


def test_passwords_are_not_in_the_servers_log_even_after_a_second_run_that_fails(
    roles: PostgresWithRoles,
) -> None:
    with pytest.raises(RuntimeError, match='role "blog_owner" already exists'):
        roles.run_roles_script(roles.primary)
    log = (roles.workshop.folder / "primary.log").read_text()
    assert 'ERROR:  role "blog_owner" already exists' in log
    assert not [role for role in ROLES if password_of(role) in log]


@each(REFUSED_BY_MYSQL)
def test_old_system_refuses(mysql: MySQL, role: str, attempt: Attempt) -> None:
    with closing(mysql.connect(role)) as connection, pytest.raises(Exception, match=rf"\({attempt.says}, "):
        connection.cursor().execute(attempt.sql)


def test_old_system_is_read(mysql: MySQL) -> None:
    with closing(mysql.connect("legacy_app")) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT count(*) FROM customers")
        assert cursor.fetchall() == ((320,),)


SECRET = "correct horse 1"
POST = {"title": "Of roles", "summary": "", "content": "*text*", "tags": "roles", "status": "published"}
EVENT = "/admin/analytics/analyticsevent"
# Who posts what to where, and the status of the answer.
WRITES: list[tuple[str, str, dict[str, str], int]] = [
    (
        "visitor",
        "/users/signup/",
        {"username": "roland", "email": "r@example.com"} | dict.fromkeys(("password1", "password2"), SECRET),
        302,
    ),
    ("visitor", "/users/edit/", {"first_name": "Roland", "email": "r@example.com"}, 302),
    ("visitor", "/blog/write/", POST, 302),
    ("visitor", "/blog/of-roles/", {"content": "A comment"}, 302),
    ("visitor", "/blog/of-roles/edit/", POST | {"content": "Another text"}, 302),
    ("visitor", "/blog/of-roles/delete/", {}, 302),
    ("visitor", "/users/logout/", {}, 302),
    ("visitor", "/users/login/", {"username": "roland", "password": "wrong"}, 200),
    ("visitor", "/users/login/", {"username": "roland", "password": SECRET}, 302),
    ("visitor", "/users/delete/", {"password": SECRET}, 302),
    ("root", "/dashboard/count/", {}, 302),
    ("root", "/cache/purge/expired/", {}, 302),
    ("root", "/admin/blog/tag/add/", {"name": "by root", "slug": "by-root"}, 302),
    ("root", "/admin/auth/group/add/", {"name": "by root"}, 302),
    # What the server would refuse is not offered.
    ("root", f"{EVENT}/add/", {}, 403),
    ("root", f"{EVENT}/{{event}}/change/", {}, 403),
    ("root", f"{EVENT}/{{event}}/delete/", {"post": "yes"}, 403),
]
SITE = f"""
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from apps.analytics.models import AnalyticsEvent
from apps.analytics.selectors import count_events
from apps.outbox.relay import Relay

clients = {{name: Client(headers={{"host": "localhost"}}) for name in ("visitor", "root")}}
for client in clients.values():
    client.raise_request_exception = False
root = get_user_model().objects.filter(is_superuser=True).first()
clients["root"].force_login(root, "django.contrib.auth.backends.ModelBackend")
answer = {{}}
event = AnalyticsEvent.objects.earliest("pk").pk
answer["writes"] = [clients[who].post(path.format(event=event), data).status_code for who, path, data, _ in {WRITES!r}]
before = count_events()
answer["pages"] = [clients["root"].get(page).status_code for page in {PAGES!r}]
drained = Relay("cache_db").drain()
answer["delivered"] = [drained.failed, count_events() > before]
accounts = {{}}
for alias in {[*NAMES, "read_replica_1", "users_replica_1", "legacy_db"]!r}:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT current_user")
        accounts[alias] = cursor.fetchone()[0]
answer["accounts"] = accounts
"""


@pytest.fixture(scope="module")
def walk(roles_site: Site) -> dict[str, Any]:
    """What the site answered to WRITES and on PAGES, and by which accounts it did so."""
    quiet = Site(roles_site.var, env=roles_site.env | {"EMAIL_URL": "dummymail://"})
    found: dict[str, Any] = python(quiet, SITE)
    return found


def test_site_uses_the_account_that_each_alias_is_given(walk: dict[str, Any]) -> None:
    assert walk["accounts"] == {
        "default": "blog_app",
        "users_db": "users_app",
        "analytics_db": "analytics_app",
        "read_replica_1": "blog_reader",
        "users_replica_1": "users_reader",
        "legacy_db": "legacy_app@%",
    }


def test_every_page_answers_with_what_the_roles_may_read(walk: dict[str, Any]) -> None:
    assert dict(zip(PAGES, walk["pages"], strict=True)) == dict.fromkeys(PAGES, 200)
    assert walk["delivered"] == [0, True]


def test_site_writes_what_visitors_and_staff_send(walk: dict[str, Any]) -> None:
    found = [(*write[:3], status) for write, status in zip(WRITES, walk["writes"], strict=True)]
    assert found == WRITES


def test_prober_looks_by_its_own_account_and_sees_the_replica_stream(roles_site: Site) -> None:
    said = roles_site.manage("dbstatus", "--json")
    rows, _ = json.JSONDecoder().raw_decode(said)
    assert {row["state"] for row in rows} == {"up"}
    assert {row["is_streaming"] for row in rows if row["role"] == "replica"} == {True}
    assert "refused the account" not in said


def table(heading: str) -> list[tuple[str, ...]]:
    """The cells of the table under a heading of the document."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in lines[2:]]


def names(found: Iterable[str]) -> str:
    return ", ".join(found) or "–"


def test_document_says_what_each_role_may_do() -> None:
    in_order = [
        (name, names(role.reaches), names(p for p in PRIVILEGES if p in role.rows)) for name, role in ROLES.items()
    ]
    assert [row[:3] for row in table("Roles")] == [*in_order, ("legacy_app", "legacy", "SELECT")]


def test_document_lists_what_is_tried_here() -> None:
    assert table("Tried on PostgreSQL, and refused") == [attempt.cells for attempt in REFUSED]
    assert table("Tried on MySQL and MariaDB, and refused") == [attempt.cells for attempt in REFUSED_BY_MYSQL]
    assert table("Who tries") == [(group, names(roles)) for group, roles in GROUPS.items()]


def test_account_that_may_only_look_sees_a_schema_as_it_is(roles_site: Site) -> None:
    assert "no issues" in roles_site.manage("check", "--database", "legacy_db")
