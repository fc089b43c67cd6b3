import pytest

from routers.statements import is_read, is_write


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
        "(SELECT 1) UNION (SELECT 2)",
        "( (SELECT id FROM a) UNION ALL (SELECT id FROM b) ) ORDER BY 1",
        "SELECT `orders`.`update` FROM `orders`",
        'SELECT "t"."delete", "t"."into" FROM "t"',
        "SELECT 'please update me; or not'",
        "/* app */ SELECT 1",
        "/* insert */ (SELECT 1) UNION (SELECT 2)",
        "-- delete\nSELECT 1",
        "--\nSELECT 1",
        "SELECT /*! STRAIGHT_JOIN */ 1",
        """SELECT "a" #> '{update,b}' FROM t""",
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
        "(WITH gone AS (DELETE FROM customers RETURNING *) SELECT * FROM gone)",
        "(SELECT 1) UNION (SELECT 2); DROP TABLE customers",
        "(SELECT `update` FROM customers FOR UPDATE)",
        "/* app */ SELECT * FROM customers FOR UPDATE",
        "SELECT * FROM customers FOR/* no */UPDATE",
        "(DELETE FROM customers)",
        "/*! DELETE FROM customers */",
        "/*!50000 SELECT 1 */",
        "/*M! DELETE FROM customers */",
        "SELECT 1 /*!50000 INTO OUTFILE 'x' */",
        "SELECT 1 /*m!100100 INTO OUTFILE 'x' */",
        "SELECT 1 --it's\n; DELETE FROM customers; -- '",
        "SELECT 1 # it's\n; DELETE FROM customers; # '",
        "SELECT 1 /* /* */ ' */; DELETE FROM customers; -- '",
        "SELECT a$$ FROM t; DELETE FROM customers; SELECT b$$ FROM t",
        "SELECT 'it\\'; DELETE FROM customers; -- '",
    ],
)
def test_anything_else_is_a_write(sql: str) -> None:
    assert not is_read(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT * FROM customers FOR UPDATE",
        "SELECT * FROM customers c JOIN t ON true FOR NO KEY UPDATE OF c SKIP LOCKED",
        "SELECT * FROM customers FOR KEY SHARE",
        "SELECT 'please update me; or not', 'it''s an insert'",
        'SELECT "update", `delete` FROM customers',
        "SELECT $$ delete $$, $a$ it's; $$ $a$",
        "SELECT 1; /* nothing */ -- follows",
        "/* told first */ SELECT 1",
        "(SELECT 1) UNION (SELECT 2)",
        "(SELECT * FROM customers FOR UPDATE)",
        "/* copied */ COPY customers TO STDOUT",
        "COPY customers (name) TO STDOUT",
        "COPY (SELECT * FROM customers) TO STDOUT (FORMAT csv)",
    ],
)
def test_what_changes_no_row_is_no_write(sql: str) -> None:
    assert not is_write(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE customers SET city = 'SELECT'",
        "/* told first */ DELETE FROM customers",
        "WITH a AS (SELECT * FROM customers FOR UPDATE) UPDATE customers SET city = ''",
        "INSERT INTO copied SELECT * FROM customers FOR UPDATE",
        "SELECT 'a'; DROP TABLE customers; SELECT 'b'",
        "SELECT '\\''; DROP TABLE customers; SELECT '\\''",
        "SELECT \"it's\"; DROP TABLE customers; SELECT 'b'",
        "SELECT 1; /*! DROP TABLE customers */",
        "SELECT 1 /*M! INTO OUTFILE 'x' */",
        "(WITH gone AS (DELETE FROM customers RETURNING *) SELECT * FROM gone)",
        "COPY customers FROM STDIN",
        "COPY (DELETE FROM customers RETURNING *) TO STDOUT",
        "CALL tidy_up()",
        None,
    ],
)
def test_what_may_change_one_is(sql: str | None) -> None:
    assert is_write(sql)
