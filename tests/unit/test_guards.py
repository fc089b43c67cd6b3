import pytest

from routers.guards import is_read


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  \n select * from customers",
        "WITH recent AS (SELECT 1) SELECT * FROM recent",
        "EXPLAIN SELECT 1",
        "SAVEPOINT s1",
        "SET lock_timeout = 100",
        'SELECT "updated_at" FROM t',
        "SELECT 1;\n",
    ],
)
def test_read_is_known_as_one(sql: str) -> None:
    assert is_read(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO customers VALUES (1)",
        "UPDATE customers SET city = %s",
        "WITH gone AS (DELETE FROM customers RETURNING *) SELECT * FROM gone",
        "EXPLAIN ANALYZE UPDATE customers SET city = %s",
        "SELECT * FROM customers FOR UPDATE",
        "CREATE TABLE t (id int)",
        "TRUNCATE customers",
        "WITH a AS (SELECT 1) REPLACE INTO customers SELECT 1",
        "WITH a AS (SELECT 1) INSERT OR REPLACE INTO customers SELECT 1",
        "WITH a AS (SELECT 1) DELETE c FROM customers c JOIN a",
        "SELECT * INTO copied FROM customers",
        "SELECT 1; DROP TABLE customers",
        "EXPLAIN ANALYZE CREATE TABLE copied AS SELECT 1",
        "CALL tidy_up()",
        "-- a comment first\nDELETE FROM customers",
    ],
)
def test_anything_else_is_a_write(sql: str) -> None:
    assert not is_read(sql)
