"""The documents say what the code does."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest
from django.conf import settings

from config.settings.databases import owner_variable

ROOT = Path(settings.BASE_DIR)
READERS = {"text", "flag", "number", "choice", "words", "required_secret", "email_settings"}


def variables_read() -> set[str]:
    """The name of every variable that a settings module reads."""
    found = set()
    for file in (ROOT / "config/settings").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
                found |= {str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant)}
            if isinstance(node, ast.keyword) and node.arg in ("url", "replica_urls"):
                found |= {str(node.value.value)} if isinstance(node.value, ast.Constant) else set()
    return (found | {owner_variable(cluster) for cluster in settings.CLUSTERS if not cluster.read_only}) - {""}


def documented() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M))


def test_env_example_lists_every_variable_and_no_other() -> None:
    assert set(documented()) == variables_read()


def test_env_example_says_something_about_each_variable() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for before, line in pairwise(lines):
        if re.match(r"#[A-Z_]+=", line):
            # Its own comment, or that of those of one kind which it follows.
            kind = "_".join(re.findall(r"[A-Z]+", line)[-2:])
            assert before.startswith("# ") or re.match(rf"#\w*{kind}=", before) or "PROBE" in line, line


@pytest.mark.parametrize(
    ("variable", "default"),
    [("SLOW_QUERY_MS", str(settings.SLOW_QUERY_MS)), ("DEFAULT_FROM_EMAIL", settings.DEFAULT_FROM_EMAIL)],
)
def test_env_example_shows_the_true_default(variable: str, default: str) -> None:
    assert documented()[variable] == default


def test_files_that_the_documents_name_exist() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_no_placeholder_is_left_in_a_document() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"\b[A-Z]+_OUTPUT\b|\bTODO\b", document.read_text()), document.name


def test_aliases_are_spelled_out_in_one_module_only() -> None:
    aliases = "|".join(alias for alias in settings.DATABASES if alias != "default")
    for folder in ("apps", "routers", "config"):
        for file in (ROOT / folder).rglob("*.py"):
            if "migrations" in file.parts or file.name == "databases.py":
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not re.fullmatch(aliases, node.value), f"{file}:{node.lineno}"


@pytest.mark.parametrize("document", ["README.md", "routers/__init__.py"])
def test_every_module_of_the_routers_is_named(document: str) -> None:
    text = (ROOT / document).read_text()
    modules = {file.stem for file in (ROOT / "routers").glob("*.py")} - {"__init__", "apps"}
    assert [name for name in sorted(modules) if not re.search(rf"\b{name}\b", text)] == []
