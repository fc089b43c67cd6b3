"""TLS to the databases by the options of their URLs, against servers that a private authority has certified."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from django.db import OperationalError

from tests.project.conftest import Site
from tests.servers.conftest import Connect, python, running
from tests.servers.processes import Authority, MySQL, Postgres, Workshop


@pytest.fixture(scope="module")
def tls_postgres() -> Iterator[Postgres]:
    yield from running(partial(Postgres, standbys=0, tls=True))


@pytest.fixture(scope="module")
def tls_mysql() -> Iterator[MySQL]:
    yield from running(partial(MySQL, tls=True))


def trusted(servers: Postgres | MySQL) -> Path:
    assert servers.authority
    return servers.authority.certificate


def stranger(workshop: Workshop) -> Path:
    """The certificate of an authority that has certified none of our servers."""
    return Authority(workshop, "stranger").certificate


def verified(postgres: Postgres, authority: Path) -> str:
    return f"{postgres.url('postgres')}?sslmode=verify-full&sslrootcert={authority}"


def test_postgresql_is_spoken_to_in_cipher(tls_postgres: Postgres, connect: Connect) -> None:
    with connect(verified(tls_postgres, trusted(tls_postgres))).cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)


def test_postgresql_of_another_authority_is_refused(tls_postgres: Postgres, connect: Connect) -> None:
    with pytest.raises(OperationalError, match="certificate verify failed"):
        connect(verified(tls_postgres, stranger(tls_postgres.workshop))).ensure_connection()


def test_postgresql_by_a_name_that_is_not_in_its_certificate_is_refused(
    tls_postgres: Postgres, connect: Connect
) -> None:
    url = verified(tls_postgres, trusted(tls_postgres)).replace("127.0.0.1", "localhost")
    with pytest.raises(OperationalError, match='does not match host name "localhost"'):
        connect(url).ensure_connection()


def test_postgresql_that_speaks_plaintext_is_refused(
    postgres: Postgres, tls_postgres: Postgres, connect: Connect
) -> None:
    with pytest.raises(OperationalError, match="server does not support SSL, but SSL was required"):
        connect(verified(postgres, trusted(tls_postgres))).ensure_connection()


def test_postgresql_is_refused_when_the_authority_is_not_there(tls_postgres: Postgres, connect: Connect) -> None:
    with pytest.raises(OperationalError, match=r'root certificate file "/nowhere\.pem" does not exist'):
        connect(verified(tls_postgres, Path("/nowhere.pem"))).ensure_connection()


@pytest.mark.parametrize("mode", ["", "&ssl_mode=VERIFY_CA"])
def test_mysql_is_spoken_to_in_cipher(tls_mysql: MySQL, connect: Connect, mode: str) -> None:
    with connect(f"{tls_mysql.url()}?ssl_ca={trusted(tls_mysql)}{mode}").cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchone()[1]


@pytest.mark.parametrize("mode", ["", "&ssl_mode=VERIFY_CA"])
def test_mysql_of_another_authority_is_refused(tls_mysql: MySQL, connect: Connect, mode: str) -> None:
    url = f"{tls_mysql.url()}?ssl_ca={stranger(tls_mysql.workshop)}{mode}"
    with pytest.raises(OperationalError, match=r"\(2026, .*certificate"):
        connect(url).ensure_connection()


def test_mysql_by_a_name_that_is_not_in_its_certificate_is_refused(tls_mysql: MySQL, connect: Connect) -> None:
    # The same address written shorter: for this driver "localhost" would be a socket.
    url = f"{tls_mysql.url()}?ssl_ca={trusted(tls_mysql)}".replace("127.0.0.1", "127.1")
    with pytest.raises(OperationalError, match=r"\(2026, "):
        connect(url).ensure_connection()


@pytest.mark.parametrize("mode", ["", "&ssl_mode=VERIFY_CA"])
def test_mysql_that_nobody_has_certified_is_refused(
    mysql: MySQL, tls_mysql: MySQL, connect: Connect, mode: str
) -> None:
    # MariaDB speaks plaintext there, and MySQL has made a certificate for itself.
    with pytest.raises(OperationalError, match=r"\(2026, "):
        connect(f"{mysql.url()}?ssl_ca={trusted(tls_mysql)}{mode}").ensure_connection()


def test_site_reads_by_urls_that_verify(tls_postgres: Postgres, tls_mysql: MySQL, tmp_path: Path) -> None:
    users = verified(tls_postgres, trusted(tls_postgres))
    legacy = f"{tls_mysql.url()}?ssl_ca={trusted(tls_mysql)}"
    site = Site(tmp_path / "var", env={"USERS_DATABASE_URL": users, "LEGACY_DATABASE_URL": legacy})
    code = """
from django.db import connections
answer = []
for alias, sql in (
    ("users_db", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
    ("legacy_db", "SHOW STATUS LIKE 'Ssl_cipher'"),
):
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        answer.append(bool(cursor.fetchone()[-1]))
"""
    assert python(site, code) == [True, True]
