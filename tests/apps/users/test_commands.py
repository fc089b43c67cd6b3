"""Django's commands for users look where the users are."""

import pytest
from django.core.management import call_command

from apps.users.models import User
from apps.users.topics import REGISTERED, SAVED
from tests.apps.users.conftest import Announced
from tests.factories.users import UserFactory


# Django looks for unapplied migrations on `default`, whatever the command.
@pytest.mark.django_db(databases=["default", "users_db"])
def test_superuser_is_made_on_users_db_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    call_command("createsuperuser", username="root", email="Root@example.com", interactive=False, verbosity=0)
    user = User.objects.using("users_db").get(is_superuser=True)
    assert user.email == "root@example.com"


@pytest.mark.django_db(databases=["default", "users_db"])
def test_superuser_is_announced(monkeypatch: pytest.MonkeyPatch, announced: Announced) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    call_command("createsuperuser", username="root", email="root@example.com", interactive=False, verbosity=0)
    assert [topic for topic, _ in announced()] == [SAVED, REGISTERED]


@pytest.mark.django_db(databases=["default", "users_db"])
def test_password_is_changed_on_users_db_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "correct horse battery")
    user = UserFactory.create()
    call_command("changepassword", user.username, verbosity=0)
    user.refresh_from_db()
    assert user.check_password("correct horse battery")
