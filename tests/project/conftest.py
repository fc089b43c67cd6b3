"""The project as its users run it: real processes, real files, folders of the tests' own."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

INHERITED = ("PATH", "HOME", "LANG", "COVERAGE_")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """A place for one set of SQLite files, and the means to run commands on it."""

    var: Path
    root: Path = ROOT
    env: dict[str, str] = field(default_factory=dict)

    def tables(self, name: str) -> set[str]:
        """Those in one of the files."""
        with closing(sqlite3.connect(self.var / f"{name}.sqlite3")) as database:
            return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
        return kept | {"ENV_FILE": "", "DEMO": "on", "VAR_DIR": str(self.var), "COLUMNS": "200"} | self.env

    def start(self, *args: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-W", "error", "manage.py", *args],
            cwd=self.root,
            env=self.environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def manage(self, *args: str, status: int = 0) -> str:
        """Run a management command, which must end with `status`; returns what it printed, errors included."""
        process = self.start(*args)
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, out + err
        return out + err


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "var")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with every table and no rows, shared: read it, do not change it."""
    site = Site(tmp_path_factory.mktemp("migrated") / "var")
    site.manage("migrate_all", "--verbosity", "0")
    site.manage("load_legacy")
    return site
