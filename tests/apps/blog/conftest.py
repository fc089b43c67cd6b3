from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.factories.blog import UserProfileFactory

MakeUser = Callable[..., Any]


@pytest.fixture
def make_user() -> MakeUser:
    """Makes users, with a profile in the blog. Needs users_db and default."""

    def make(username: str, **fields: Any) -> Any:
        user = get_user_model().objects.create(username=username, email=f"{username}@example.com", **fields)
        UserProfileFactory.create(user_id=user.pk, username=username, display_name=username.title())
        return user

    return make


@pytest.fixture
def signed_in() -> Callable[[Any], Client]:
    def client_of(user: Any) -> Client:
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return client

    return client_of
