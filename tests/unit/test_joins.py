"""What the guard takes for the name of a table, and what it lets through."""

from typing import Any

import pytest
from django.db import connections
from psycopg import sql as composed
from pytest_django import Settings

from routers.joins import _why_not, guard_joins, refuse_joins, tables_named
from routers.relations import CrossDatabaseJoin

BOTH = {"blog_post", "users_user"}


def execute(sql: Any, *, alias: str = "default", vendor: str = "postgresql") -> str:
    """What the guard lets through."""

    class Connection:
        pass

    at = Connection()
    at.alias, at.vendor = alias, vendor  # type: ignore[attr-defined]
    return str(refuse_joins(lambda *args: "sent", sql, (), False, {"connection": at}))


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "blog_post" INNER JOIN "users_user" ON ("users_user"."id" = "blog_post"."author_id")',
        "SELECT * FROM `blog_post` LEFT OUTER JOIN `users_user` ON 1",
        "select * from blog_post, users_user",
        "select * from Blog_Post p, public.users_user as u where p.author_id = u.id",
        'SELECT * FROM "public"."blog_post" AS p, "public"."users_user" AS u',
        "SELECT * FROM blog_post WHERE author_id IN (SELECT id FROM users_user WHERE is_active)",
        "SELECT (SELECT username FROM users_user LIMIT 1), title FROM blog_post",
        "SELECT * FROM (SELECT id FROM blog_post) AS p, users_user",
        "SELECT * FROM (blog_post CROSS JOIN users_user)",
        "SELECT * FROM blog_post p JOIN LATERAL (SELECT 1 FROM ONLY users_user) u ON true",
        "SELECT title FROM blog_post UNION ALL SELECT username FROM users_user",
        "INSERT INTO blog_post (title) SELECT username FROM users_user",
        "UPDATE blog_post SET title = u.username FROM users_user u WHERE u.id = author_id",
        "UPDATE blog_post, users_user SET title = username",
        "DELETE FROM blog_post USING users_user WHERE author_id = users_user.id",
        "WITH a AS (SELECT id FROM users_user) SELECT * FROM blog_post WHERE author_id IN (SELECT id FROM a)",
        "WITH blog_post AS (SELECT * FROM blog_post) SELECT * FROM blog_post JOIN users_user ON true",
        'WITH a AS (SELECT 1), "users_user" AS(SELECT * FROM users_user) SELECT * FROM users_user, blog_post',
        "SELECT * FROM (WITH users_user AS (SELECT 1) SELECT * FROM users_user) AS a, users_user, blog_post",
        "WITH users_user AS (SELECT 1) SELECT * FROM users_user; SELECT * FROM users_user, blog_post",
        "SELECT * FROM unnest(%s) WITH ORDINALITY, users_user, blog_post",
        "SELECT * FROM a JOIN b ON a.at::timestamp with time zone > now(), users_user, blog_post",
        "ALTER TABLE blog_post ADD FOREIGN KEY (author_id) REFERENCES users_user (id)",
        "TRUNCATE blog_post, users_user",
        "SELECT 'it''s' FROM blog_post /* all of them */ JOIN users_user ON 'a' = '\\'",
        "SELECT * FROM blog_post WHERE title LIKE %s ESCAPE '\\' AND id IN (SELECT id FROM users_user)",
        "SELECT E'it\\'s' FROM blog_post, users_user",
        "SELECT * FROM blog_post -- of\n, users_user",
        "SELECT 1 FROM blog_post; SELECT 2 FROM users_user",
    ],
)
def test_statement_that_names_tables_of_two_databases_is_refused(sql: str) -> None:
    assert set(tables_named(sql)) == BOTH
    with pytest.raises(CrossDatabaseJoin, match="two databases"):
        execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "blog_post" INNER JOIN "blog_comment" ON ("blog_comment"."post_id" = "blog_post"."id")',
        "SELECT * FROM blog_post WHERE title = 'FROM users_user'",
        "SELECT * FROM blog_post WHERE title = 'it''s FROM users_user'",
        "SELECT * FROM blog_post WHERE title = E'it\\'s FROM users_user'",
        "SELECT * FROM blog_post -- JOIN users_user",
        "SELECT * FROM blog_post /* , users_user */",
        "SELECT $$ FROM users_user $$, $a$ FROM users_user $a$ FROM blog_post",
        "SELECT title AS users_user FROM blog_post AS users_user ORDER BY users_user",
        "SELECT users_user, p.users_user FROM blog_post p WHERE users_user = 1 GROUP BY title, users_user",
        "SELECT EXTRACT(DAY FROM blog_post.users_user) FROM blog_post",
        'SELECT * FROM blog_post ORDER BY "users_user", users_user LIMIT 5',
        "WITH users_user AS (SELECT 1 AS id) SELECT * FROM blog_post JOIN users_user ON true",
        "WITH users_user (id) AS MATERIALIZED (SELECT 1) SELECT * FROM blog_post, users_user",
        "WITH `users_user` AS(SELECT 1) SELECT * FROM blog_post, (SELECT * FROM users_user) AS a",
        "WITH RECURSIVE users_user AS (SELECT 1 UNION SELECT * FROM users_user) SELECT * FROM blog_post, users_user",
        "UPDATE blog_post SET title = 'x', users_user = 1",
        "INSERT INTO blog_post (title, users_user) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET users_user = 1",
        "SELECT * FROM blog_post FOR UPDATE OF blog_post",
        "SELECT * FROM users_user_archive, blog_post",
        "SELECT * FROM users_user JOIN django_session ON true",
        "SELECT 1",
        "SELECT ) FROM blog_post WHERE 'users_user' = ''",
        "",
    ],
)
def test_statement_within_one_database_is_let_through(sql: str) -> None:
    assert execute(sql) == "sent"


def test_backslash_escapes_a_quote_in_mysql_only() -> None:
    sql = "SELECT 'it\\' FROM users_user --' FROM blog_post"
    assert execute(sql, vendor="mysql") == "sent"
    with pytest.raises(CrossDatabaseJoin):
        execute("SELECT 'it\\' FROM users_user, blog_post")


def test_statement_may_be_composed() -> None:
    names = [composed.Identifier(table) for table in sorted(BOTH)]
    with pytest.raises(CrossDatabaseJoin):
        execute(composed.SQL("SELECT * FROM {}, {}").format(*names))


def test_tables_of_a_shared_app_are_in_each_of_its_databases(settings: Settings) -> None:
    settings.CLUSTERS = tuple(cluster for cluster in settings.CLUSTERS if "cache" not in cluster.apps)
    settings.SHARED_APPS = {"cache": ["blog", "users"]}
    assert execute("SELECT * FROM cache_cacheentry, blog_post") == "sent"
    assert execute("SELECT * FROM cache_cacheentry, users_user") == "sent"
    with pytest.raises(CrossDatabaseJoin):
        execute("SELECT * FROM cache_cacheentry, users_user, blog_post")


def test_refusal_names_the_alias_the_tables_their_databases_and_the_remedy() -> None:
    with pytest.raises(CrossDatabaseJoin) as refused:
        execute("SELECT 'a secret' FROM blog_post, users_user")
    assert str(refused.value) == (
        "On default, one statement names tables of two databases: blog_post (default), users_user (users_db). Where "
        "they are two, it fails. Make it two statements: fetch the ids from one, as a list, and ask the other by them; "
        "for rows to show, use prefetch_related()."
    )


@pytest.mark.parametrize(("setting", "times"), [(True, 1), (False, 0)])
def test_guard_is_put_on_each_connection_once_where_the_setting_says_so(
    setting: bool, times: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["default"]
    monkeypatch.setattr(connection, "execute_wrappers", [])
    settings.CROSS_DATABASE_SQL_GUARD = setting
    for _ in range(2):
        guard_joins(connection=connection)
    assert connection.execute_wrappers == [refuse_joins] * times


def test_statement_is_read_once_however_often_it_is_sent() -> None:
    sql = f"SELECT * FROM blog_post WHERE id IN ({', '.join(['%s'] * 1_000)})"
    execute(sql)
    before = _why_not.cache_info()
    execute(sql)
    assert _why_not.cache_info().misses == before.misses
    assert before.maxsize
