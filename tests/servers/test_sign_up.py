# ruff: noqa: T201 - the figures are for whoever runs it with -s
"""A sign-up that dies at any moment, and one while the databases of its profile and of its event are down."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.browser.conftest import free_port
from tests.project.conftest import Site
from tests.servers.conftest import VARIABLES, python
from tests.servers.sign_up_harness import PASSWORD

NOTHING_WRONG = {
    "users without a profile": 0,
    "profiles without a user": 0,
    "users without a sign-up": 0,
    "sign-ups without a user": 0,
    "sign-ups that were counted twice": 0,
}


def killed_at_every_step(site: Site, how: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.servers.sign_up_harness", how],
        cwd=site.root, env=site.environment(), text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    print(found)
    return found


def test_killed_at_every_step_no_user_is_without_a_profile_and_no_profile_without_a_user(migrated_copy: Site) -> None:
    found = killed_at_every_step(migrated_copy, "ours")
    assert NOTHING_WRONG.items() <= found.items()
    assert (found["failed"], found["unavailable"]) == (0, [])
    # Some died before the commit and left nothing, and some after it; the relay has brought all their profiles.
    assert found["deaths"] > 20
    assert 1 < found["users"] < found["deaths"]
    assert found["before"] == found["users"]


def test_one_write_after_the_other_fails_the_same_trial(migrated_copy: Site) -> None:
    found = killed_at_every_step(migrated_copy, "naive")
    assert found["users without a profile"] > 0
    assert found["users without a sign-up"] > found["users without a profile"]


SIGN_UP = f"""
from contextlib import redirect_stdout
from io import StringIO
from django.test import Client
client = Client(headers={{"host": "localhost"}})
form = dict(username="ada", email="ada@example.com", password1={PASSWORD!r}, password2={PASSWORD!r})
pages = "/users/account/", "/users/ada/", "/users/edit/"
with redirect_stdout(StringIO()):  # where the demo mails to
    answer = [client.post("/users/signup/", form).status_code, *(client.get(page).status_code for page in pages)]
"""
DRAIN = """
from apps.outbox.relay import Relay
from tests.servers.sign_up_harness import verdict
drained = Relay().drain()
answer = verdict() | {"failed": drained.failed, "unavailable": sorted(drained.unavailable)}
"""


@pytest.fixture
def without_the_others(migrated_copy: Site) -> Site:
    """The same site, with nobody where the blog's and analytics' servers should be."""
    nobody = f"postgres://app:secret@127.0.0.1:{free_port()}/nothing"
    return Site(migrated_copy.var, env=migrated_copy.env | {VARIABLES["default"]: nobody, "READ_REPLICA_URLS": nobody,
                VARIABLES["analytics_db"]: nobody})  # fmt: skip


def test_visitor_is_signed_in_at_once_while_the_others_are_down(migrated_copy: Site, without_the_others: Site) -> None:
    assert python(without_the_others, SIGN_UP) == [302, 200, 200, 200]
    waiting = python(
        without_the_others, "from apps.outbox.selectors import backlog\nanswer = backlog()['users_db'].waiting"
    )
    assert waiting == 2
    found = python(migrated_copy, DRAIN)
    assert found == NOTHING_WRONG | {"users": 1, "failed": 0, "unavailable": []}
