from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.outbox import registry
from apps.outbox.models import Message
from apps.users.models import User
from apps.users.topics import DELETED, REGISTERED, SAVED
from tests.factories.users import UserFactory

Announced = Callable[[], list[tuple[str, Any]]]


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
def announced(monkeypatch: pytest.MonkeyPatch) -> Announced:
    """The topics and payloads that are in the outbox of users_db, with nobody else subscribed."""
    for name in list(registry.handlers):
        monkeypatch.delitem(registry.handlers, name)
    hear = registry.Handler("hear", (SAVED, REGISTERED, DELETED), print, User)
    monkeypatch.setitem(registry.handlers, hear.name, hear)
    return lambda: list(Message.objects.using("users_db").order_by("pk").values_list("topic", "payload"))
