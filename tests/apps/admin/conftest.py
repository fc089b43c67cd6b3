from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.users.models import User
from tests.factories.users import UserFactory

BACKEND = "django.contrib.auth.backends.ModelBackend"
SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    """Signs a member of staff in, who may do what is named as "blog.view_post" and no more."""

    def sign_in(*permissions: str, **fields: Any) -> Client:
        user = UserFactory.create(is_staff=True, **fields)
        for permission in permissions:
            app_label, codename = permission.split(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app_label, codename=codename))
        client = Client()
        client.force_login(user, BACKEND)
        return client

    return sign_in


@pytest.fixture
def root(sign_in: SignIn) -> Client:
    """A signed-in superuser."""
    return sign_in(username="root", is_superuser=True)


@pytest.fixture
def root_user(root: Client) -> User:
    return User.objects.get(username="root")


@contextmanager
def queries(*aliases: str) -> Iterator[dict[str, CaptureQueriesContext]]:
    """The queries of each alias. That no other alias is asked is for pytest-django to see: it forbids it."""
    with ExitStack() as stack:
        yield {alias: stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in aliases}


class _Fields(HTMLParser):
    """What a browser would send of the page's forms."""

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[str, Any] = {}
        self._name = ""
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given and self._select:
            self.data.setdefault(self._select, []).append(given.get("value") or "")
        elif tag == "textarea":
            self._name, self.data[name] = name, ""
        elif tag == "input" and name and (given.get("type") not in ("submit", "checkbox") or "checked" in given):
            self.data[name] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._name:
            self.data[self._name] += data.removeprefix("\r\n").removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        self._name = "" if tag == "textarea" else self._name
        self._select = "" if tag == "select" else self._select


def form_data(response: Any) -> dict[str, Any]:
    """The page's fields as they stand, to be sent back with changes."""
    parser = _Fields()
    parser.feed(response.content.decode())
    return {
        name: value for name, value in parser.data.items() if "__prefix__" not in name and name != "usable_password"
    }
