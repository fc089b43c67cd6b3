"""The guards on the site itself: its pages pass, and what would break a promise does not."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse

from apps.cache import services
from apps.cache.models import CacheEntry
from apps.users.models import User
from routers.guards import SecondDatabaseWritten, WrittenOnSafeRequest
from routers.middleware import RoutingMiddleware
from routers.state import routing_state
from routers.transactions import atomic_for
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "cache_db"])


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(
        UserFactory.create(is_staff=True, is_superuser=True), "django.contrib.auth.backends.ModelBackend"
    )
    return client


def requested(method: str, view: Any) -> None:
    def respond(request: HttpRequest) -> HttpResponse:
        view()
        return HttpResponse()

    request = HttpRequest()
    request.method = method
    RoutingMiddleware(respond)(request)


@atomic_for(CacheEntry)
def write() -> None:
    services.purge(expired=True)


def test_union_is_a_read_on_get_beside_a_transaction_elsewhere_and_pins_nothing() -> None:
    names = User.objects.using("users_db").values_list("username")
    with routing_state(is_request=True, is_safe=True) as known, atomic_for(CacheEntry):
        assert list(names.union(names.order_by(), all=True)) == []
    assert known.written == set()


def test_page_that_writes_on_get_is_refused_and_on_post_not() -> None:
    with pytest.raises(WrittenOnSafeRequest, match=r"sent to cache_db at .*apps/cache/services.py:"):
        requested("GET", write)
    requested("POST", write)


def test_cache_may_be_filled_on_get_because_it_says_why() -> None:
    requested("GET", lambda: services.set_entry(key="a", value=1, timeout=60))
    assert CacheEntry.objects.get().value == 1


def test_cache_may_not_be_filled_inside_somebody_elses_transaction() -> None:
    with atomic_for(User), pytest.raises(SecondDatabaseWritten, match="a transaction is open on users_db"):
        services.set_entry(key="a", value=1, timeout=60)


def test_session_is_saved_on_get(client: Client) -> None:
    with routing_state(is_request=True, is_safe=True):
        session = client.session
        session["seen"] = True
        session.save()
    assert client.session["seen"]


def test_row_on_one_database_is_logged_on_another_after_its_transaction(
    root: Client, django_capture_on_commit_callbacks: Any
) -> None:
    entry = {"key": "a", "value": "1", "expires_at_0": "2036-01-02", "expires_at_1": "03:04:05"}
    with django_capture_on_commit_callbacks(using="cache_db") as callbacks:
        assert root.post(reverse("admin:cache_cacheentry_add"), entry).status_code == 302
    assert CacheEntry.objects.count() == 1
    assert not LogEntry.objects.exists()
    for callback in callbacks:
        callback()
    assert LogEntry.objects.get().object_repr == str(CacheEntry.objects.get())


def test_row_beside_the_log_is_logged_in_its_own_transaction(root: Client) -> None:
    assert root.post(reverse("admin:auth_group_add"), {"name": "editors"}).status_code == 302
    assert LogEntry.objects.get().object_repr == str(Group.objects.get())


@pytest.mark.django_db(databases=["default", "users_db", "users_replica_1", "cache_db"], transaction=True)
def test_row_that_is_deleted_for_real_is_logged_after_the_commit(root: Client) -> None:
    services.set_entry(key="a", value=1, timeout=60)
    pk = CacheEntry.objects.get().pk
    url = reverse("admin:cache_cacheentry_delete", args=[pk])
    assert root.get(url).status_code == 200
    assert root.post(url, {"post": "yes"}).status_code == 302
    assert LogEntry.objects.get().object_id == str(pk)
    assert not CacheEntry.objects.exists()
