"""The servers of this room end, and leave nothing behind, however the test run ends."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.project.conftest import ROOT
from tests.servers import processes
from tests.servers.processes import Authority, Missing, MySQL, Postgres, Workshop

SCRIPT = """
import time
from tests.servers.processes import Workshop
workshop = Workshop("nobody")
print(workshop.start("sleep", "600", log="log"), workshop.folder, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_server_and_its_data_are_gone_after_the_run_was_killed(sign: signal.Signals) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout
    pid, folder = run.stdout.readline().split()
    assert not is_gone(int(pid))
    run.send_signal(sign)
    run.communicate()
    wait_until(lambda: is_gone(int(pid)) and not Path(folder).exists())


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """For temporary files, and open to the user as whom the servers run, which tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="multidb-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_primary_and_standby_are_gone_after_pytest_was_killed(
    postgres: Postgres, public_folder: Path, sign: signal.Signals
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "tests/servers/test_replica.py"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(public_folder)},
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: len(server_pids(public_folder)) == 2)
    pids = server_pids(public_folder)
    assert not any(is_gone(pid) for pid in pids)
    run.send_signal(sign)
    run.communicate(timeout=60)
    wait_until(lambda: all(is_gone(pid) for pid in pids) and not [*public_folder.glob("multidb-servers-*")])


def server_pids(folder: Path) -> list[int]:
    """Those of the PostgreSQL servers that run in the folder."""
    pids = []
    for file in folder.glob("multidb-servers-*/*/postmaster.pid"):
        with suppress(FileNotFoundError):  # a server is stopped once before it is used
            pids += file.read_text().split("\n")[:1]
    return [int(pid) for pid in pids if pid]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stopped_server_ends_too() -> None:
    workshop = Workshop("nobody")
    pid = workshop.start("sleep", "600", log="log")
    os.kill(pid, signal.SIGSTOP)
    workshop.end()
    assert is_gone(pid)
    assert not workshop.folder.exists()


def test_missing_server_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_postgres_folders", list)
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(Missing, match=r"No PostgreSQL server on this machine.*apt-get install postgresql"):
        Postgres()
    with pytest.raises(Missing, match=r"No MariaDB or MySQL server on this machine.*apt-get install mariadb-server"):
        MySQL()


def test_postgres_that_is_too_old_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_postgres_folders", lambda: [Path("/old")])
    monkeypatch.setattr(processes, "_version", lambda folder: 14)
    with pytest.raises(Missing, match=r"PostgreSQL 14 is too old, 15 is needed.*apt-get install postgresql"):
        Postgres()


def test_missing_driver_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: "/usr/sbin/mariadbd")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"mysqlclient is not installed.*pip install -r requirements\.txt"):
        MySQL()


def test_openssl_that_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    workshop = Workshop("nobody")
    try:
        with pytest.raises(Missing, match=r"no OpenSSL 3 or newer on this machine.*apt-get install openssl"):
            Authority(workshop)
    finally:
        workshop.end()
