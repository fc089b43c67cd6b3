"""`python -m tests.servers`: what it tells a command, what it says where there is nothing, and that nothing stays."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.project.conftest import ROOT, Site
from tests.servers import __main__ as program
from tests.servers import processes
from tests.servers.conftest import python
from tests.servers.processes import Missing

TELLS_AND_WAITS = """
import json, os, sys, time
try:
    print(json.dumps({name: os.environ[name] for name in os.environ if name.startswith("TEST_")}), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(7)
"""
WITHOUT_MYSQL = """
import sys
from tests.servers import __main__ as program
from tests.servers.processes import Missing
def none():
    raise Missing("No MariaDB here.")
program.MySQL = none
sys.exit(program.main(sys.argv[1:]))
"""
on_servers = pytest.mark.usefixtures("installed")
RUN = (sys.executable, "-m", "tests.servers")
Program = subprocess.Popen[str]
Start = Callable[..., Program]


@pytest.fixture
def installed() -> None:
    """For what takes real servers; where there are none it is skipped, with the remedy."""
    try:
        processes._postgres_bin()
        processes._mysql_binary()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with a group of its own, as a shell would, and ends what a test that failed has left of it."""
    started = []

    def start(*command: str) -> Program:
        started.append(
            subprocess.Popen(
                command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        )
        return started[-1]

    yield start
    for run in started:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def told(run: Program) -> dict[str, str]:
    """The variables that the command prints in its first line."""
    assert run.stdout
    found: dict[str, str] = json.loads(run.stdout.readline())
    return found


def answers(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5).close()
    except OSError:
        return False
    return True


def all_gone(urls: dict[str, str]) -> bool:
    """Whether nothing listens there any more, or soon: the keeper of a process that was killed needs a moment."""
    deadline = time.monotonic() + 10
    while any(answers(url) for url in urls.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(answers(url) for url in urls.values())


@on_servers
def test_addresses_that_are_printed_make_a_site_and_end_with_ctrl_c(start: Start, tmp_path: Path) -> None:
    run = start(*RUN)
    assert run.stdout
    lines = iter(run.stdout.readline, "# Running until Ctrl-C.\n")
    env = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert {*program.PRIMARIES, *program.REPLICAS, "LEGACY_DATABASE_URL"} <= set(env)
    site = Site(tmp_path / "var", env=env)
    site.manage("migrate_all", "--verbosity", "0")
    site.manage("seed_demo", "--events=90", "--verbosity", "0")
    assert python(site, "from apps.legacy.selectors import count_customers; answer = count_customers()") == 320
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "")
    assert all_gone({name: url for name, url in env.items() if "URL" in name})


@on_servers
def test_command_is_told_where_its_tests_find_each_server_and_its_status_is_ours(start: Start) -> None:
    run = start(*RUN, sys.executable, "-c", TELLS_AND_WAITS.replace("60", "0") + "sys.exit(3)")
    urls = told(run)
    assert set(urls) == {f"TEST_{name}" for name in (*program.PRIMARIES, *program.REPLICAS, "LEGACY_DATABASE_URL")}
    assert len({urlsplit(url).port for url in urls.values()}) == 3
    _, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (3, "")
    assert all_gone(urls)


@on_servers
def test_ctrl_c_leaves_the_command_its_last_word_and_then_ends_the_servers(start: Start) -> None:
    run = start(*RUN, sys.executable, "-c", TELLS_AND_WAITS)
    urls = told(run)
    assert all(answers(url) for url in urls.values())
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (7, "")
    assert all_gone(urls)


@on_servers
def test_who_ends_it_ends_the_command_and_the_servers(start: Start) -> None:
    run = start(*RUN, sys.executable, "-c", TELLS_AND_WAITS)
    urls = told(run)
    run.terminate()
    run.communicate(timeout=30)
    assert run.returncode == 128 + signal.SIGTERM
    assert all_gone(urls)


@on_servers
def test_servers_are_gone_when_it_is_killed(start: Start) -> None:
    run = start(*RUN, sys.executable, "-c", TELLS_AND_WAITS)
    urls = told(run)
    run.kill()
    assert all_gone(urls)
    os.killpg(run.pid, signal.SIGINT)  # the command outlives a kill, and runs on until it misses its servers
    run.communicate(timeout=30)


@on_servers
def test_what_has_no_server_stays_on_sqlite_and_that_is_said(start: Start) -> None:
    run = start(sys.executable, "-c", WITHOUT_MYSQL, sys.executable, "-c", TELLS_AND_WAITS.replace("60", "0"))
    assert {name.removeprefix("TEST_") for name in told(run)} == {*program.PRIMARIES, *program.REPLICAS}
    _, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "What it would hold stays on SQLite: No MariaDB here.\n")


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise Missing(f"No {name} here.")

    monkeypatch.setattr(program, "PostgresWithRoles", lambda: missing("PostgreSQL"))
    monkeypatch.setattr(program, "MySQL", lambda: missing("MariaDB"))


def test_command_is_skipped_aloud_where_there_is_no_server(
    no_servers: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["touch", str(tmp_path / "ran")]) == 0
    assert not (tmp_path / "ran").exists()
    said = capsys.readouterr().err
    assert "ran: skipped because there is no server to run it on.\nNo PostgreSQL here.\nNo MariaDB here.\n" in said


def test_keeping_servers_fails_where_there_is_none(no_servers: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 1
    assert capsys.readouterr().err == "No PostgreSQL here.\nNo MariaDB here.\n"


def test_settings_of_the_tests_take_the_addresses_that_are_for_tests_and_no_others() -> None:
    code = """
from config.settings.test import DATABASES
print(DATABASES["default"]["NAME"], DATABASES["users_db"]["ENGINE"])
"""
    env = os.environ | {
        "DATABASE_URL": "postgres://app:x@127.0.0.1:1/wrong",
        "TEST_DATABASE_URL": "postgres://app:x@127.0.0.1:1/right",
        "USERS_DATABASE_URL": "postgres://app:x@127.0.0.1:1/wrong",
    }
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert said.stdout == "right django.db.backends.sqlite3\n"


@pytest.mark.parametrize(
    ("arguments", "second_run"),
    [
        ("", "-m pytest tests/apps --numprocesses auto --maxprocesses 8"),
        ("-x --cov --cov-report=xml", "-m pytest tests/apps --numprocesses auto --maxprocesses 8 -x"),
        ("tests/unit", ""),
        ("-k name", ""),
    ],
)
def test_make_test_runs_the_application_again_on_servers_unless_tests_were_chosen(
    arguments: str, second_run: str
) -> None:
    said = subprocess.run(
        ["make", "--dry-run", "test", f"ARGS={arguments}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (first,) = (line for line in said if "-m pytest --numprocesses" in line and "tests.servers" not in line)
    assert first.endswith(f"--numprocesses auto {arguments}")
    again = [line.partition("-m tests.servers ")[2].partition(" ")[2].strip() for line in said]
    assert "".join(again) == second_run
