"""Does what a section of the README says, on a copy of the project.

A fenced block is taken by its first line: `# FILE, in NAME` adds the rest to that list or tuple of the file, `# FILE`
writes the file, and a block of the language sh is run.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from tests.project.conftest import ROOT, Site

LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "var", "__pycache__", ".*_cache")


def copy_of_the_project(folder: Path) -> Site:
    root = folder / "project"
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return Site(root / "var", root=root)


def follow(site: Site, heading: str) -> list[str]:
    """Do every block under the heading, in order; returns what the shell blocks printed."""
    readme = (ROOT / "README.md").read_text()
    section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", readme, re.M | re.S)
    assert section, f"README.md has no section {heading!r}"
    blocks = re.findall(r"^ *```(\w+)\n(.*?)^ *```$", section[1], re.M | re.S)
    assert blocks, f"The section {heading!r} has nothing to do"
    return [_run(site, dedent(text)) if kind == "sh" else _write(site, dedent(text)) for kind, text in blocks]


def _run(site: Site, script: str) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=site.root, env=site.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, script + done.stdout + done.stderr
    return done.stdout


def _write(site: Site, text: str) -> str:
    first, rest = text.split("\n", 1)
    name, _, place = first.removeprefix("# ").partition(", in ")
    file = site.root / name
    if place:
        start = re.search(rf"^{place} = [\[(]\n", file.read_text(), re.M)
        assert start, f"{name} has no list {place}"
        source = file.read_text()
        rest = source[: start.end()] + rest + source[start.end() :]
    file.write_text(rest)
    return ""
