import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from apps.analytics.recorder import Recorder, recorder

PRELUDE = """
import logging, os, sqlite3, sys, time
import django
django.setup()
from django.conf import settings
from apps.analytics import services
from apps.analytics.models import AnalyticsEvent
from apps.analytics.recorder import recorder
FILE = str(settings.VAR_DIR / "analytics.sqlite3")

def written():
    with sqlite3.connect(FILE) as database:
        return database.execute("SELECT COUNT(*) FROM analytics_analyticsevent").fetchone()[0]

def wait_for(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{recorder.waiting} wait, failing: {recorder.in_outage}"
        time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    recorder.reset()
    yield
    recorder.reset()


@pytest.fixture
def own_recorder() -> Recorder:
    return Recorder()


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
    """A VAR_DIR whose analytics database has its tables."""
    folder = tmp_path_factory.mktemp("migrated")
    done = _run(folder, "manage.py", "migrate", "analytics", "--database=analytics_db", "--skip-checks")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def process(migrated_folder: Path, tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a script in a process of its own: a real thread, a real file, a real end."""

    def run(script: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "var"
        shutil.copytree(migrated_folder, folder)
        done = _run(folder, "-c", PRELUDE + script)
        assert done.returncode == 0, done.stderr
        return done

    return run
