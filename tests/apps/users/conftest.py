from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import Client

from apps.users import signals
from apps.users.models import User
from tests.factories.users import UserFactory

Announced = list[tuple[str, dict[str, Any]]]
Commits = Callable[[], AbstractContextManager[list[Any]]]


@pytest.fixture
def user(db: None) -> User:
    return UserFactory.create()


@pytest.fixture
def unconfirmed(db: None) -> User:
    return UserFactory.create(email_confirmed_at=None)


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Any) -> Commits:
    """What on_commit holds back in a test's transaction runs at the end of this block."""
    return lambda: django_capture_on_commit_callbacks(using="users_db", execute=True)


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> Announced:
    """What the users app announces, with nobody else listening."""
    heard: Announced = []
    for name in ("user_saved", "user_registered", "user_deleted"):
        signal: Signal = getattr(signals, name)
        monkeypatch.setattr(signal, "receivers", [])

        def hear(*, sender: Any, signal: Signal, name: str = name, **data: Any) -> None:
            heard.append((name, data))

        signal.connect(hear, weak=False)
    return heard
