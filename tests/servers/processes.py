"""Throwaway PostgreSQL and MySQL servers, from the binaries that this machine has.

They listen on loopback only, keep their data in a temporary folder, and end with the test run, however that ends.
"""

import importlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from apps.legacy.services import SQL_FILES, statements
from tests.browser.conftest import free_port
from tests.project.conftest import ROOT
from tests.servers.keeper import identity

# An account that may do what it likes with its own databases. The site's are those of the two scripts.
USER, PASSWORD = "app", "s3cr3t"
POSTGRES_ROLES, MYSQL_ROLES = ROOT / "docker/postgres/roles.sql", ROOT / "docker/legacy/roles.sql"
KEEPER = Path(__file__).with_name("keeper.py")
READY_WITHIN = 60
OLDEST_POSTGRES = 15
GET_POSTGRES = "apt-get install postgresql"
GET_OPENSSL = "apt-get install openssl"
GET_MYSQL = "apt-get install mariadb-server default-libmysqlclient-dev pkg-config, then pip install -r requirements.txt"


class Missing(Exception):
    """What this machine lacks, and the remedy."""


class Workshop:
    """A temporary folder, the unprivileged user that owns it where we are root, and a keeper for what runs in it."""

    def __init__(self, *users: str) -> None:
        self.user = _first_known(*users) if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="multidb-servers-"))
        # Temporary tables, too: in the machine's own folder those of servers that start at once have met.
        self.environment = {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(self.folder)}
        # Neither our environment nor our site-packages, and a session of its own: Ctrl-C is meant for the tests.
        self.keeper = subprocess.Popen(
            [sys.executable, "-E", "-S", KEEPER, self.folder],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if self.user:
            shutil.chown(self.folder, self.user)

    def run(self, *command: str | Path) -> None:
        """Run a command to its end. Raises RuntimeError with what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            **identity(self.user),
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")

    def start(self, *command: str | Path, log: str) -> int:
        """Start a server that runs until it is ended; returns its process id."""
        assert self.keeper.stdin
        assert self.keeper.stdout
        line = json.dumps([list(map(str, command)), self.user, str(self.folder / log)])
        self.keeper.stdin.write(f"{line}\n")
        self.keeper.stdin.flush()
        return int(self.keeper.stdout.readline())

    def end(self) -> None:
        """End every server and remove the folder."""
        self.keeper.communicate(timeout=60)


@dataclass
class Server:
    """A process that listens on a port of 127.0.0.1."""

    scheme: str
    port: int
    pid: int

    def url(self, database: str, user: str = USER) -> str:
        return f"{self.scheme}://{user}:{password_of(user)}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """It goes on listening, and answers nobody."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGQUIT)


class Authority:
    """Who certifies servers: a key of its own, made by openssl in a server's folder. Raises Missing without it."""

    def __init__(self, workshop: Workshop, name: str = "authority") -> None:
        if not _has_openssl():
            raise Missing(f"There is no OpenSSL 3 or newer on this machine. On Debian and Ubuntu: {GET_OPENSSL}")
        self.workshop, self.key = workshop, workshop.folder / f"{name}.key"
        self.certificate = workshop.folder / f"{name}.pem"
        self._request(self.certificate, self.key, f"/CN={name}", "basicConstraints=critical,CA:TRUE")

    def certify(self, address: str) -> tuple[Path, Path]:
        """The certificate and the key of a server that is reached at this IP address, and at no other."""
        certificate, key = (self.workshop.folder / f"server.{ending}" for ending in ("pem", "key"))
        issued_by = ("-CA", self.certificate, "-CAkey", self.key)
        self._request(certificate, key, f"/CN={address}", f"subjectAltName=IP:{address}", *issued_by)
        return certificate, key

    def _request(self, certificate: Path, key: Path, subject: str, extension: str, *options: str | Path) -> None:
        self.workshop.run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
            "-subj", subject, "-addext", extension, "-keyout", key, "-out", certificate, *options,
        )  # fmt: skip


class Postgres:
    """A primary with streaming standbys, and with `tls` certified. Raises Missing where there is nothing of use."""

    streams_as = "postgres"

    def __init__(self, *, standbys: int = 1, tls: bool = False) -> None:
        self.bin = _postgres_bin()
        self.workshop = Workshop("postgres", "nobody")
        try:
            self.authority = Authority(self.workshop) if tls else None
            self.primary = self._make_primary()
            self.standbys = [self._make_standby(f"standby_{number}") for number in range(1, standbys + 1)]
        except BaseException:
            self.end()
            raise

    def url(self, database: str) -> str:
        return self.primary.url(database)

    def end(self) -> None:
        self.workshop.end()

    def create_database(self, name: str, *, like: str = "template1") -> str:
        """An empty database that belongs to USER, or a copy of one that nobody is connected to; returns its name."""
        self.query("postgres", f'CREATE DATABASE "{name}" OWNER {USER} TEMPLATE "{like}"', admin=True)
        return name

    def connect(
        self, database: str, *, user: str = USER, on: Server | None = None
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection past Django, to the primary or another server."""
        return psycopg.connect(
            host="127.0.0.1",
            port=(on or self.primary).port,
            user=user,
            password=password_of(user),
            dbname=database,
            autocommit=True,
        )

    def query(self, database: str, sql: str, *, admin: bool = False, on: Server | None = None) -> list[Any]:
        """Run a statement past Django, on the primary or another server; returns its rows."""
        with self.connect(database, user="postgres" if admin else USER, on=on) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def catch_up(self) -> None:
        """Wait until every standby has replayed what the primary has committed."""
        ((position,),) = self.query("postgres", "SELECT pg_current_wal_flush_lsn()", admin=True)
        for standby in self.standbys:
            _wait_until(partial(self._has_replayed, position, standby))

    def _has_replayed(self, position: str, standby: Server) -> bool:
        sql = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        return bool(self.query("postgres", sql, admin=True, on=standby)[0][0])

    def _make_primary(self) -> Server:
        password = self.workshop.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # the folder itself is private
        data = self.workshop.folder / "primary"
        self.workshop.run(
            self.bin / "initdb", "--pgdata", data, "--username=postgres", f"--pwfile={password}", "--no-sync",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        server = self._start("primary")
        self.query("postgres", f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'", admin=True, on=server)
        return server

    def _make_standby(self, name: str, port: int | None = None) -> Server:
        self.workshop.run(
            self.bin / "pg_basebackup", "--pgdata", self.workshop.folder / name, "--write-recovery-conf",
            "--create-slot", f"--slot={name}", "--checkpoint=fast", "--no-sync",
            "--dbname", self._address(self.primary, self.streams_as),
        )  # fmt: skip
        return self._start(name, port)

    def _address(self, server: Server, user: str) -> str:
        return f"host=127.0.0.1 port={server.port} user={user} password={password_of(user)} dbname=postgres"

    def _start(self, name: str, port: int | None = None) -> Server:
        settings = ["fsync=off", "shared_buffers=32MB", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        if self.authority:
            certificate, key = self.authority.certify("127.0.0.1")
            settings += ["ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={key}"]
        port = port or free_port()
        pid = self.workshop.start(
            self.bin / "postgres", "-D", self.workshop.folder / name, "-p", str(port),
            *(part for setting in settings for part in ("-c", setting)), log=f"{name}.log",
        )  # fmt: skip
        server = Server("postgres", port, pid)
        _wait_until(lambda: self.query("postgres", "SELECT 1", admin=True, on=server), self.workshop.folder, name)
        return server


class PostgresWithRoles(Postgres):
    """The same, with the site's databases and accounts as docker/postgres/roles.sql makes them."""

    streams_as = "replicator"

    def run_roles_script(self, server: Server) -> None:
        roles = re.findall(r":'(\w+)_password'", POSTGRES_ROLES.read_text(encoding="utf-8"))
        self.workshop.run(
            self.bin / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
            *(f"--set={role}_password={password_of(role)}" for role in roles),
            "--dbname", self._address(server, "postgres"), "--file", POSTGRES_ROLES,
        )  # fmt: skip

    def _make_primary(self) -> Server:
        server = super()._make_primary()
        self.run_roles_script(server)
        return server


class MySQL:
    """MariaDB or MySQL, with the old system's tables and rows, and the account by which the site reads them.

    With `tls` it is certified. Raises Missing where there is nothing of use.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self.binary = _mysql_binary()
        self.workshop = Workshop("mysql", "nobody")
        try:
            self.authority = Authority(self.workshop) if tls else None
            self._initialise()
            self.server = self._start()
            self._load(*SQL_FILES)
            self._load(MYSQL_ROLES, legacy_app_password=password_of("legacy_app"))
        except BaseException:
            self.end()
            raise

    def url(self, database: str = "legacy", user: str = USER) -> str:
        return self.server.url(database, user)

    def end(self) -> None:
        self.workshop.end()

    def connect(self, user: str = USER, database: str = "legacy") -> Any:
        """A connection past Django."""
        # Not every machine has it, and it has no types.
        return importlib.import_module("MySQLdb").connect(
            host="127.0.0.1",
            port=self.server.port,
            user=user,
            password=password_of(user),
            database=database,
            charset="utf8mb4",
        )

    def _initialise(self) -> None:
        data = self.workshop.folder / "data"
        version = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout
        if "MariaDB" not in version:
            self.workshop.run(self.binary, "--no-defaults", "--initialize-insecure", f"--datadir={data}")
            return
        script = _found("mariadb-install-db", "mysql_install_db")
        if script is None:
            raise Missing(f"MariaDB has no mariadb-install-db here. On Debian and Ubuntu: {GET_MYSQL}")
        self.workshop.run(
            script, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"
        )

    def _start(self) -> Server:
        folder, port = self.workshop.folder, free_port()
        accounts = folder / "accounts.sql"
        # Every right, so that nothing but the project itself keeps it from writing.
        accounts.write_text(
            "CREATE DATABASE legacy CHARACTER SET utf8mb4;\n"
            f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        accounts.chmod(0o644)
        tls = []
        if self.authority:
            certificate, key = self.authority.certify("127.0.0.1")
            tls = [f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={self.authority.certificate}"]
        pid = self.workshop.start(
            self.binary, "--no-defaults", f"--datadir={folder / 'data'}", f"--port={port}", "--bind-address=127.0.0.1",
            f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--init-file={accounts}",
            "--skip-name-resolve", "--skip-log-bin", "--loose-mysqlx=OFF",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", *tls, log="mysql.log",
        )  # fmt: skip
        self.server = Server("mysql", port, pid)
        _wait_until(lambda: self.connect().close() or True, folder, "mysql")
        return self.server

    def _load(self, *files: Path, **variables: str) -> None:
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            for name, value in variables.items():
                cursor.execute(f"SET @{name} = %s", [value])
            for file in files:
                for statement in statements(file.read_text(encoding="utf-8")):
                    cursor.execute(statement)
            connection.commit()


def password_of(user: str) -> str:
    """Another one for each of the site's accounts, so that none is let in by mistake."""
    return PASSWORD if user in (USER, "postgres") else f"{PASSWORD}-{user}"


def _postgres_bin() -> Path:
    """The folder of the newest PostgreSQL of OLDEST_POSTGRES or later that PATH, pg_config or Debian's layout names."""
    found = {folder: _version(folder) for folder in _postgres_folders()}
    newest = max(found, key=lambda folder: found[folder], default=None)
    if newest is None:
        raise Missing(f"No PostgreSQL server on this machine. On Debian and Ubuntu: {GET_POSTGRES}")
    if found[newest] < OLDEST_POSTGRES:
        raise Missing(
            f"PostgreSQL {found[newest]} is too old, {OLDEST_POSTGRES} is needed. On Debian and Ubuntu: {GET_POSTGRES}"
        )
    return newest


def _postgres_folders() -> list[Path]:
    places = [Path(initdb).resolve().parent for initdb in [shutil.which("initdb")] if initdb]
    if pg_config := shutil.which("pg_config"):
        said = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout
        places.append(Path(said.strip()))
    places += Path("/usr/lib/postgresql").glob("*/bin")
    needed = ("initdb", "postgres", "pg_basebackup", "psql")
    return [place for place in places if all((place / name).is_file() for name in needed)]


def _version(folder: Path) -> int:
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", said)
    assert found, said
    return int(found[0])


def _has_openssl() -> bool:
    if shutil.which("openssl") is None:
        return False
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout
    return re.match(r"OpenSSL ([3-9]|\d\d)", said) is not None


def _mysql_binary() -> str:
    binary = _found("mariadbd", "mysqld")
    if binary is None:
        raise Missing(f"No MariaDB or MySQL server on this machine. On Debian and Ubuntu: {GET_MYSQL}")
    if importlib.util.find_spec("MySQLdb") is None:
        raise Missing(f"The Python package mysqlclient is not installed. On Debian and Ubuntu: {GET_MYSQL}")
    return binary


def _found(*names: str) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec"])
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def _first_known(*names: str) -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in names if name in known)


def _wait_until(true: Callable[[], Any], folder: Path | None = None, name: str = "") -> None:
    """Ask until the answer is true. Raises RuntimeError, with the server's log, when it never is."""
    deadline, error = time.monotonic() + READY_WITHIN, None
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except Exception as found:  # whatever a server that is not ready yet makes of us
            error = found
        time.sleep(0.05)
    log = (folder / f"{name}.log").read_text() if folder else ""
    raise RuntimeError(f"The server was not ready within {READY_WITHIN} s: {error}\n{log}")
