"""users_db restored to an earlier moment on a real server, before anybody signs up there; and what comes too late."""

from typing import Any

from tests.project.conftest import Site
from tests.servers.conftest import VARIABLES, database_name, python
from tests.servers.processes import Postgres, PostgresWithRoles

PEOPLE = """
from contextlib import redirect_stdout, redirect_stderr
from django.conf import settings
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
from apps.blog.selectors import posts_by, visible_posts
from apps.blog.services import create_post
from apps.outbox.relay import Relay
from apps.users.models import User
from apps.users.services import create_user_with_profile, delete_user

def arrive(name):
    return create_user_with_profile(username=name, email=f"{name}@example.com", password="x").pk

def relay():
    found = Relay().drain()
    assert not found.failed, found
"""
BEFORE = f"{PEOPLE}arrive('ada'); answer = arrive('gone'); relay()"
# One goes, and one comes who keeps something private.
AFTER = f"""{PEOPLE}
delete_user(user=User.objects.get(username="gone"))
answer = arrive("lost")
create_post(author_id=answer, title="private", content="nobody else's")
relay()
"""
ARRIVE = f"""{PEOPLE}
answer = arrive("stranger")
relay()
"""


def of(user_id: int) -> str:
    """What this person is shown of their own."""
    return f"{PEOPLE}answer = [post.title for post in [*posts_by({user_id}), *visible_posts({user_id})]]"


STATE = f"""{PEOPLE}
from apps.blog.models import UserProfile
answer = [sorted(model.objects.values_list("username", flat=True)) for model in (User, UserProfile)]
"""


def restored(postgres: Postgres, site: Site) -> tuple[Site, dict[str, int]]:
    """The site with users_db as it was before somebody went and somebody came, and their ids."""
    ids = {"gone": python(site, BEFORE)}
    name = database_name(site, "users_db")
    backup = postgres.create_database(f"{name}_backup", like=name)
    ids["lost"] = python(site, AFTER)
    env = {key: value for key, value in site.env.items() if "REPLICA" not in key}
    return Site(site.var, env=env | {VARIABLES["users_db"]: postgres.url(backup)}), ids


def test_lost_persons_id_and_drafts_are_given_to_nobody(postgres: Postgres, migrated_copy: Site) -> None:
    site, ids = restored(postgres, migrated_copy)
    site.manage("after_restore", "--database", "users_db", "--fix")
    stranger = python(site, ARRIVE)
    assert stranger > ids["lost"]
    assert python(site, of(stranger)) == []
    assert python(site, of(ids["lost"])) == ["private"] * 2


def test_without_it_they_are_given_to_the_next_one(postgres: Postgres, migrated_copy: Site) -> None:
    site, ids = restored(postgres, migrated_copy)
    assert python(site, ARRIVE) == ids["lost"]
    assert python(site, of(ids["lost"])) == ["private"] * 2


def test_deleted_person_who_is_back_is_deleted_again(postgres: Postgres, migrated_copy: Site) -> None:
    site, ids = restored(postgres, migrated_copy)
    said = site.manage("after_restore", "--database", "users_db", status=1)
    assert f"users_db: 1 of users.user are back, would be deleted again: {ids['gone']}" in said
    assert python(site, STATE)[0] == ["ada", "gone"]
    said = site.manage("after_restore", "--database", "users_db", "--fix")
    assert f"users_db: 1 of users.user are back, deleted again: {ids['gone']}" in said
    assert site.manage("after_restore", "--database", "users_db") == ""
    python(site, f"{PEOPLE}relay(); answer = 0")
    site.manage("reconcile", "--fix")
    assert python(site, STATE) == [["ada"], ["ada"]]


def test_reconcile_does_not_publish_an_erased_profile_again(postgres: Postgres, migrated_copy: Site) -> None:
    site, _ = restored(postgres, migrated_copy)
    site.manage("reconcile", "--fix")
    python(site, f"{PEOPLE}relay(); answer = 0")
    assert python(site, STATE) == [["ada", "gone"], ["ada"]]


def test_account_of_the_site_may_not_move_sequences_and_the_owners_is_used(
    migrated_roles: Site, roles: PostgresWithRoles
) -> None:
    sql = "SELECT has_sequence_privilege('users_app', 'users_user_id_seq', 'UPDATE')"
    assert roles.query("users", sql, admin=True)[0][0] is False
    code = f"{PEOPLE}create_post(author_id=50_000, title='by nobody', content='x'); answer = 0"
    python(migrated_roles, code)
    migrated_roles.manage("after_restore", "--database", "users_db", "--fix")
    assert python(migrated_roles, f"{PEOPLE}answer = arrive('after-restore')") > 50_000
    roles.query("blog", "DELETE FROM blog_post WHERE author_id = 50000", admin=True)


VIEW = """
from datetime import UTC, datetime
from threading import Event, Thread
from django.db import connections, transaction
from apps.analytics.handlers import store_events
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.analytics.services import record_event
from apps.outbox.tombstones import follow
view = {"event_type": "page_view", "session_id": "", "data": {"path": "/"}}
def left():
    return [UserActivity.objects.count(), AnalyticsEvent.objects.exclude(user=None).count()]
"""


def late(site: Site) -> Any:
    return python(
        site,
        f"""{PEOPLE}{VIEW}
user_id = arrive("visitor")
record_event(**view, user_id=user_id)
delete_user(user=User.objects.get(pk=user_id))
Relay("users_db").drain()
Relay("cache_db").drain()
answer = [*left(), AnalyticsEvent.objects.filter(event_type="page_view").count()]
""",
    )


def test_page_view_that_arrives_after_the_deletion_is_nobodys(migrated_copy: Site) -> None:
    assert late(migrated_copy) == [0, 0, 1]


def test_deletion_waits_for_page_views_that_are_being_written(migrated_copy: Site) -> None:
    code = f"""{PEOPLE}{VIEW}
ended = Event()
def bury():
    with transaction.atomic(using="analytics_db"):
        for model in (UserActivity, AnalyticsEvent):
            follow(model._meta.get_field("user"), [7], using="analytics_db")
    ended.set()
    connections.close_all()
thread = Thread(target=bury)
with transaction.atomic(using="analytics_db"):
    store_events([view | {{"user_id": 7, "timestamp": datetime.now(UTC).isoformat()}}])
    thread.start()
    waited = not ended.wait(1)
thread.join()
answer = [waited, *left()]
"""
    assert python(migrated_copy, code) == [True, 0, 0]
