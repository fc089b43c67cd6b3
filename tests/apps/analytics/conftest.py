import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connections
from django.test import Client

from apps.analytics import recorder as module
from apps.analytics.recorder import Recorder
from apps.outbox.relay import Relay
from config.settings import base

PRELUDE = """
import os, sqlite3, threading, time
import django
django.setup()
from django.conf import settings
from django.db import OperationalError, connections
from django.db import connections
from apps.analytics import services
from apps.outbox.relay import Relay

def written():
    with sqlite3.connect(settings.VAR_DIR / "analytics.sqlite3") as database:
        return database.execute("SELECT COUNT(*) FROM analytics_analyticsevent").fetchone()[0]

def record(number=1):
    for _ in range(number):
        assert services.record_event(event_type="test")
"""


def deliver() -> None:
    """Take to analytics what was recorded."""
    assert not Relay(module.outbox()).drain().failed


@contextmanager
def broken(alias: str) -> Iterator[list[str]]:
    """A database that refuses every statement; what it was asked."""
    asked: list[str] = []

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> None:
        asked.append(sql)
        raise OperationalError("database or disk is full")

    with connections[alias].execute_wrapper(refuse):
        yield asked


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """One that has not yet lost anything, in the place of the process's."""
    own = Recorder()
    monkeypatch.setattr("apps.analytics.services.recorder", own)
    return own


@pytest.fixture
def visitor(settings: Any) -> Client:
    """A client of the site with all of its middleware."""
    settings.MIDDLEWARE = base.MIDDLEWARE
    return Client()


def _environment(folder: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # A child must not measure coverage into this process's file, nor read this machine's .env.
    own = {"VAR_DIR": str(folder), "DEMO": "on", "ENV_FILE": "", "DJANGO_SETTINGS_MODULE": "config.settings.base"}
    return inherited | own


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="session")
def migrated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAR_DIR whose databases have their tables."""
    folder = tmp_path_factory.mktemp("migrated")
    done = _run(folder, "manage.py", "migrate_all", "--verbosity=0")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def process(migrated_folder: Path, tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a script in a process of its own: real threads, real files, a real end."""

    def run(script: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "var"
        shutil.copytree(migrated_folder, folder)
        done = _run(folder, "-W", "error", "-c", PRELUDE + script)
        assert done.returncode == 0, done.stderr
        return done

    return run
