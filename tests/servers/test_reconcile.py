# ruff: noqa: T201 - the figures are for whoever runs it with -s
"""reconcile on real servers: rows deleted by raw SQL, each database restored to an earlier moment, and all at once.

    RECONCILE_SECONDS=60 python -m pytest -s tests/servers/test_reconcile.py

is the long run.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.project.conftest import ROOT, Site
from tests.servers.conftest import VARIABLES, database_name, python
from tests.servers.processes import Postgres, PostgresWithRoles

SECONDS = float(os.environ.get("RECONCILE_SECONDS", "5"))
PEOPLE = """
from contextlib import redirect_stdout, redirect_stderr
from django.conf import settings
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
from apps.outbox.relay import Relay
from apps.users.models import User
from apps.users.services import delete_user, update_profile
from tests.servers.reconcile_harness import arrive
"""
BEFORE = f"""{PEOPLE}
for name in ("ada", "bob", "eve"):
    arrive(name)
Relay().drain()
answer = None
"""
# One comes, one is changed, one goes.
AFTER = f"""{PEOPLE}
arrive("new")
ada = User.objects.get(username="ada")
update_profile(user=ada, first_name="Ada", last_name="L", bio="later", email=ada.email)
delete_user(user=User.objects.get(username="eve"))
Relay().drain()
answer = list(User.objects.order_by("pk").values_list("pk", flat=True))
"""
STATE = """
from collections import Counter
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.blog.models import Post, UserProfile
from apps.users.models import User
names = dict(User.objects.values_list("pk", "username"))
answer = {
    "users": sorted(names.values()),
    "profiles": sorted(UserProfile.objects.values_list("username", "bio")),
    "sign-ups": sorted(names.get(pk, str(pk)) for pk in
                       AnalyticsEvent.objects.filter(event_type="sign_up").values_list("user_id", flat=True)),
    "posts": sorted(Post.objects.values_list("title", flat=True)),
}
"""
ALL = {
    "users": ["ada", "bob", "new"],
    "profiles": [["ada", "later"], ["bob", ""], ["new", ""]],
    "sign-ups": ["None", "ada", "bob", "new"],
    "posts": ["ada", "bob", "eve", "new"],
}


def reconcile(site: Site, *args: str, status: int = 0) -> dict[str, dict[str, Any]]:
    """What it finds of each relation."""
    found = json.JSONDecoder().raw_decode(site.manage("reconcile", "--json", *args, status=status))[0]
    return {row["relation"]: row for row in found}


def broken(site: Site) -> dict[str, dict[str, list[int]]]:
    found = reconcile(site, status=1)
    return {name: {kind: ids for kind, ids in row["ids"].items() if kind != "kept"} for name, row in found.items()}


def mend(site: Site) -> None:
    reconcile(site, "--fix")
    site.manage("relay_outbox", "--once")
    found = reconcile(site)
    assert not any(set(row["ids"]) - {"kept"} for row in found.values())


def test_rows_that_raw_sql_deleted_on_either_side_are_found_and_mended(postgres: Postgres, migrated_copy: Site) -> None:
    python(migrated_copy, BEFORE)
    reconcile(migrated_copy)
    postgres.query(database_name(migrated_copy, "users_db"), "DELETE FROM users_user WHERE username = 'ada'")
    postgres.query(database_name(migrated_copy, "default"), "DELETE FROM user_profile WHERE username = 'bob'")
    assert broken(migrated_copy) == {
        "blog.UserProfile.user": {"orphans": [1], "missing": [2]},
        "blog.Post.author": {},
        "blog.Comment.author": {},
        "analytics.AnalyticsEvent.user": {"orphans": [1]},
        "analytics.UserActivity.user": {"orphans": [1]},
    }
    mend(migrated_copy)
    assert python(migrated_copy, STATE) == {
        "users": ["bob", "eve"],
        "profiles": [["bob", ""], ["eve", ""]],
        "sign-ups": ["None", "bob", "eve"],
        "posts": ["ada", "bob", "eve"],
    }


class Restore:
    """A backup of one database, what happened after it, and the site with the backup in its place."""

    def __init__(self, postgres: Postgres, site: Site, alias: str) -> None:
        self.site, name = site, database_name(site, alias)
        python(site, BEFORE)
        self.name = postgres.create_database(f"{name}_restored", like=name)
        # Rather too early than too late.
        self.moment = (datetime.now(tz=UTC) - timedelta(minutes=1)).isoformat()
        self.ids = python(site, AFTER)
        assert python(site, STATE) == ALL
        env = {key: value for key, value in site.env.items() if "REPLICA" not in key}
        self.restored = Site(site.var, env=env | {VARIABLES[alias]: postgres.url(self.name)})

    def replay(self, alias: str) -> str:
        return self.restored.manage("reconcile", "--replay-since", self.moment, "--database", alias, "--fix")


def test_restored_blog_is_given_what_it_lost_and_nothing_twice(postgres: Postgres, migrated_copy: Site) -> None:
    restore = Restore(postgres, migrated_copy, "default")
    site = restore.restored
    assert broken(site)["blog.UserProfile.user"] == {"orphans": [3], "missing": [4], "differing": [1]}
    assert "users_db to default: 6 messages are delivered again" in restore.replay("default")
    found = reconcile(site)["blog.UserProfile.user"]["ids"]
    assert found == {"on the way": [3, 1, 4]}
    site.manage("relay_outbox", "--once")
    reconcile(site)
    # What had its only home there is gone.
    assert python(site, STATE) == ALL | {"posts": ["ada", "bob", "eve"]}


def test_restored_analytics_is_given_what_it_lost_and_nothing_twice(postgres: Postgres, migrated_copy: Site) -> None:
    restore = Restore(postgres, migrated_copy, "analytics_db")
    site = restore.restored
    assert broken(site)["analytics.AnalyticsEvent.user"] == {"orphans": [3]}
    restore.replay("analytics_db")
    site.manage("relay_outbox", "--once")
    reconcile(site)
    assert python(site, STATE) == ALL


def statement_of_the_docs() -> str:
    (found,) = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/reconcile.md").read_text(), re.S)
    return str(found)


def test_restored_users_take_the_others_back_with_them(postgres: Postgres, migrated_copy: Site) -> None:
    restore = Restore(postgres, migrated_copy, "users_db")
    site = restore.restored
    postgres.query(restore.name, statement_of_the_docs())
    restore.replay("users_db")
    site.manage("relay_outbox", "--once")
    # Who was deleted since is back, and nowhere else; who came since is gone.
    assert broken(site)["blog.UserProfile.user"] == {"orphans": [4], "missing": [3], "differing": [1]}
    delete = "from apps.users.services import delete_user; delete_user(user=User.objects.get(pk=3))"
    python(site, f"from apps.users.models import User; {delete}; answer = 0")
    mend(site)
    assert python(site, STATE) == {
        "users": ["ada", "bob"],
        "profiles": [["ada", ""], ["bob", ""]],
        "sign-ups": ["None", "None", "ada", "bob"],
        "posts": ["ada", "bob", "eve", "new"],
    }
    # Nobody is given what somebody else has written.
    assert python(site, f"{PEOPLE}answer = arrive('later').pk") > max(restore.ids)


@contextmanager
def relay(site: Site) -> Iterator[None]:
    process = site.start("relay_outbox")
    try:
        yield
    finally:
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err


def test_relay_that_runs_is_warned_of(migrated_copy: Site) -> None:
    moment = datetime.now(tz=UTC).isoformat()
    replay = ("reconcile", "--replay-since", moment, "--database", "default")
    assert "A relay" not in migrated_copy.manage(*replay)
    with relay(migrated_copy):
        deadline = time.monotonic() + 30
        while "A relay is connected to users_db. Stop it" not in migrated_copy.manage(*replay):
            assert time.monotonic() < deadline
    assert "A relay" not in migrated_copy.manage(*replay)


def test_fix_while_everybody_writes_mends_what_is_broken_and_nothing_else(migrated_copy: Site) -> None:
    with relay(migrated_copy):
        process = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.servers.reconcile_harness", str(SECONDS)],
            cwd=migrated_copy.root, env=migrated_copy.environment(), text=True, capture_output=True,
        )  # fmt: skip
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    print(found)
    assert found["rounds"] > 1
    assert found["mended"] == found["broken"]
    assert {name: found[name] for name in ("users", "profiles")} == {"users": True, "profiles": True}
    assert [found[name] for name in ("activity", "events", "strangers' events", "posts")] == [0, 0, 0, 0]
    assert found["left"] == []


def test_account_of_the_site_may_look_and_that_of_the_relay_may_mend(
    migrated_roles: Site, roles: PostgresWithRoles
) -> None:
    maintenance = {"ANALYTICS_DATABASE_URL": roles.primary.url("analytics", "analytics_maintenance")}
    by_relay = Site(migrated_roles.var, env=migrated_roles.env | maintenance)
    python(migrated_roles, f"{PEOPLE}arrive('looked-at'); arrive('stays')\nanswer = 0")
    by_relay.manage("relay_outbox", "--once")
    roles.query("users", "DELETE FROM users_user WHERE username = 'looked-at'", admin=True)
    assert "orphans" in broken(migrated_roles)["analytics.UserActivity.user"]
    mend(by_relay)
    python(migrated_roles, f"{PEOPLE}delete_user(user=User.objects.get(username='stays'))\nanswer = 0")
    by_relay.manage("relay_outbox", "--once")


def test_sync_that_is_killed_is_continued(migrated_copy: Site) -> None:
    python(migrated_copy, BEFORE)
    killed = """
import os, signal
from apps.users.syncing import sync_user_data
sync_user_data(batch_size=1, advance=lambda number: os.kill(os.getpid(), signal.SIGKILL))
"""
    migrated_copy.manage("shell", "--no-imports", "--command", killed, status=-9)
    assert migrated_copy.manage("sync_user_data").startswith("2 written, 0 forgotten (everybody, continued where")
