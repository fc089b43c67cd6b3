"""The commands of docs/runbook.md, as they stand there."""

import re
import shlex

import pytest

from tests.project.conftest import ROOT, Site

COMMANDS = re.findall(r"^\$ .* relay python manage\.py (.+)$", (ROOT / "docs/runbook.md").read_text(), re.M)


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_command_runs(migrated: Site, command: str) -> None:
    """On outboxes with nothing in them, so that none changes anything."""
    arguments = shlex.split(command)
    if "--watch" in arguments:  # which goes on until Ctrl-C
        arguments.append("--help")
    migrated.manage(*arguments)


def test_error_messages_that_it_quotes_are_in_the_code() -> None:
    code = "".join(path.read_text() for path in (ROOT / "apps/outbox").rglob("*.py"))
    for quoted in ("No handler here has this name", "Messages wait on the way from"):
        assert quoted in code
        assert quoted in (ROOT / "docs/runbook.md").read_text()
