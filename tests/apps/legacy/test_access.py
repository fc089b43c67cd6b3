"""Who may see the old system's customers."""

import pytest
from django.test import Client
from pytest_django import Settings

from tests.factories.users import UserFactory

PAGES = ["/legacy/", "/legacy/1/", "/legacy/export.csv"]


@pytest.fixture
def production(settings: Settings) -> None:
    settings.DEMO = False


@pytest.mark.django_db(databases=[])
@pytest.mark.parametrize("path", PAGES)
def test_visitor_of_a_production_site_is_asked_to_sign_in(client: Client, production: None, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/users/login/")


@pytest.mark.django_db(databases=["users_db", "legacy_db"])
def test_staff_of_a_production_site_see_it(client: Client, production: None) -> None:
    client.force_login(UserFactory.create(is_staff=True), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/legacy/").status_code == 200


@pytest.mark.django_db(databases=["users_db"])
def test_others_of_a_production_site_do_not(client: Client, production: None) -> None:
    client.force_login(UserFactory.create(), backend="django.contrib.auth.backends.ModelBackend")
    for path in PAGES:
        response = client.get(path)
        assert response.status_code == 403
        assert b"You may not open this page" in response.content


@pytest.mark.django_db(databases=["legacy_db"])
def test_visitor_of_the_demo_sees_it(client: Client) -> None:
    assert client.get("/legacy/").status_code == 200
