# ruff: noqa: T201 - what it prints is for whoever started it
"""People who come, write, change and go while `reconcile --fix` runs again and again, and what became of their rows.

python -m tests.servers.reconcile_harness SECONDS

on the databases that the environment names, with a relay beside it. First some rows are broken by raw SQL; then writers
and reconcile run at once. It prints a verdict as JSON: what was broken and what was mended are to be the same.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, suppress
from io import StringIO
from typing import Any

import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections

FAST_HASHER = "django.contrib.auth.hashers.MD5PasswordHasher"
# Of each kind so many are broken.
BROKEN, WRITERS, LONGEST = 20, 3, 60


def sql(alias: str, statement: str, *params: Any) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, params)


def arrive(name: str) -> Any:
    from apps.analytics.models import AnalyticsEvent, UserActivity
    from apps.blog.services import create_post
    from apps.users.services import create_user_with_profile

    user = create_user_with_profile(username=name, email=f"{name}@example.com", password="x")
    create_post(author_id=user.pk, title=name, content=name)
    UserActivity.objects.create(user_id=user.pk, page_viewed="/")
    AnalyticsEvent.objects.create(event_type="seen", user_id=user.pk)
    return user


def write(number: int, until: float) -> set[int]:
    """The ids of those who have stayed."""
    from apps.users.services import delete_user, update_profile

    stayed, turn = set(), 0
    try:
        while time.monotonic() < until:
            turn += 1
            user = arrive(f"writer{number}-{turn}")
            for bio in ("a", "b", "a"):
                update_profile(user=user, first_name=bio, last_name="", bio=bio, email=user.email)
                time.sleep(0.01)
            if turn % 2:
                delete_user(user=user)
            else:
                stayed.add(user.pk)
    finally:
        connections.close_all()
    return stayed


def break_rows() -> tuple[dict[str, int], set[int]]:
    """How many rows of each relation, and the ids of those who are still there."""
    people = [arrive(f"person{number}").pk for number in range(4 * BROKEN)]
    wait_until_delivered()
    parts = [people[start : start + BROKEN] for start in range(0, len(people), BROKEN)]
    sql("users_db", "DELETE FROM users_user WHERE id = ANY(%s)", parts[0])
    sql("default", "DELETE FROM user_profile WHERE user_id = ANY(%s)", parts[1])
    sql("default", "UPDATE user_profile SET bio = 'x' WHERE user_id = ANY(%s)", parts[2])
    broken = {
        "blog.UserProfile.user": 3 * BROKEN,
        "analytics.AnalyticsEvent.user": 2 * BROKEN,  # a sign-up is an event, too
        "analytics.UserActivity.user": BROKEN,
    }
    return broken, set(people[BROKEN:])


def wait_until_delivered() -> None:
    from apps.outbox.models import Message

    deadline = time.monotonic() + LONGEST
    while Message.objects.using("users_db").filter(done_at=None).exists():
        assert time.monotonic() < deadline, "The relay does not deliver."
        time.sleep(0.1)


def reconcile(*args: str) -> list[dict[str, Any]]:
    out = StringIO()
    with suppress(CommandError), redirect_stderr(StringIO()):
        call_command("reconcile", "--json", *args, stdout=out)
    found: list[dict[str, Any]] = json.loads(out.getvalue())
    return found


def reconciled_while(is_running: Callable[[], bool]) -> tuple[Counter[str], int]:
    """How many rows of each relation were mended, and how many times everything was looked at."""
    mended: Counter[str] = Counter()
    rounds = 0
    while is_running():
        mended.update({row["relation"]: row["mended"] for row in reconcile("--fix", "--batch-size=7")})
        rounds += 1
    return +mended, rounds


def verdict(stayed: set[int]) -> dict[str, Any]:
    from apps.analytics.models import AnalyticsEvent, UserActivity
    from apps.blog.models import Post, UserProfile
    from apps.users.models import User

    users = {user.pk: user.public_data for user in User.objects.all()}
    profiles = UserProfile.objects.values("user_id", "username", "display_name", "bio")
    of_those = {"user_id__in": stayed}
    return {
        "users": users.keys() == stayed,
        "profiles": {row["user_id"]: row for row in profiles} == users,
        "activity": UserActivity.objects.count() - len(stayed),
        "events": AnalyticsEvent.objects.filter(**of_those).count() - 2 * len(stayed),
        "strangers' events": AnalyticsEvent.objects.exclude(**of_those).exclude(user=None).count(),
        "posts": Post.objects.filter(author_id__in=stayed).count() - len(stayed),
        "left": [row for row in reconcile() if set(row["ids"]) - {"kept"}],
    }


def main(seconds: str) -> None:
    django.setup()
    settings.PASSWORD_HASHERS = [FAST_HASHER]
    broken, stayed = break_rows()
    until = time.monotonic() + float(seconds)
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, number, until) for number in range(WRITERS)]
        mended, rounds = reconciled_while(lambda: not all(each.done() for each in writers))
        stayed.update(*(each.result() for each in writers))
    wait_until_delivered()
    print(json.dumps(verdict(stayed) | {"broken": broken, "mended": mended, "rounds": rounds, "stayed": len(stayed)}))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.base")
    main(*sys.argv[1:])
