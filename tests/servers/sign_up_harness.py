# ruff: noqa: T201 - what it prints is for whoever started it
"""Sign-ups whose process is killed, each at a later step than the one before, and what became of them.

python -m tests.servers.sign_up_harness HOW

on the databases that the environment names. HOW is "ours", the view, or "naive", one write after the other as in the
tutorials. A step is a statement or a commit, and death comes before it or after it. It goes on until a sign-up outlives
all of its steps, then has the relay deliver what there is, and prints a verdict as JSON.

All of them are forks of one process that has Django loaded and no connection open, so that a death costs no second.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

PASSWORD = "correct horse battery"
FAST_HASHER = "django.contrib.auth.hashers.MD5PasswordHasher"
MOST_STEPS = 200


class Fate:
    """Ends this process at the nth moment, counted before and after each step."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    @contextmanager
    def step(self) -> Iterator[None]:
        self.moment()
        yield
        self.moment()

    def moment(self) -> None:
        # The prober's thread is nobody's sign-up.
        if threading.current_thread() is threading.main_thread():
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        def execute(send: Callable[..., Any], *args: Any) -> Any:
            with self.step():
                return send(*args)

        def commit(connection: BaseDatabaseWrapper) -> None:
            with self.step():
                really_commit(connection)

        really_commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]
        BaseDatabaseWrapper._commit = commit  # type: ignore[attr-defined]
        for connection in connections.all():
            connection.execute_wrappers.append(execute)


def ours(name: str) -> None:
    form = {"username": name, "email": f"{name}@example.com", "password1": PASSWORD, "password2": PASSWORD}
    response = Client(headers={"host": "localhost"}).post("/users/signup/", form)
    assert response.status_code == 302, response.status_code


def naive(name: str) -> None:
    from apps.analytics.models import AnalyticsEvent
    from apps.blog.models import UserProfile
    from apps.users.models import User

    user = User(username=name, email=f"{name}@example.com")
    user.set_password(PASSWORD)
    user.save()
    UserProfile.objects.create(user_id=user.pk, username=name, display_name=name)
    AnalyticsEvent.objects.create(event_type="sign_up", user_id=user.pk)


def sign_up(work: Callable[[str], None], moment: int) -> int:
    """In a process of its own; returns its exit status."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        Fate(moment).watch()
        work(f"person{moment}")
    except BaseException as error:  # it ends here, whatever it is
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def verdict() -> dict[str, Any]:
    from apps.analytics.models import AnalyticsEvent
    from apps.blog.models import UserProfile
    from apps.users.models import User

    users, profiles = (set(model.objects.values_list("pk", flat=True)) for model in (User, UserProfile))
    sign_ups = Counter(AnalyticsEvent.objects.filter(event_type="sign_up").values_list("user_id", flat=True))
    return {
        "users": len(users),
        "users without a profile": len(users - profiles),
        "profiles without a user": len(profiles - users),
        "users without a sign-up": len(users - sign_ups.keys()),
        "sign-ups without a user": len(sign_ups.keys() - users),
        "sign-ups that were counted twice": sum(count > 1 for count in sign_ups.values()),
    }


def main(how: str) -> None:
    django.setup()
    from apps.outbox.relay import Relay

    settings.DATABASE_PROBER, settings.PASSWORD_HASHERS = False, [FAST_HASHER]
    # Loads what a first request loads, and asks no database.
    assert Client(headers={"host": "localhost"}).get("/users/signup/").status_code == 200
    work = {"ours": ours, "naive": naive}[how]
    moment = 1
    while (status := sign_up(work, moment)) == -signal.SIGKILL:
        moment += 1
        assert moment < MOST_STEPS, "No sign-up comes to its end."
    assert status == 0, f"A sign-up that was not killed ended with {status}."
    before = verdict()["users without a profile"]
    drained = Relay().drain()
    said = {"deaths": moment - 1, "before": before, "failed": drained.failed, "unavailable": drained.unavailable}
    print(json.dumps(verdict() | said))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.base")
    main(*sys.argv[1:])
