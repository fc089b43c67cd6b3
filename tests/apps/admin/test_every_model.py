"""For each registered model: every page of its admin works on its own database and asks no other."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from apps.analytics.models import AnalyticsEvent, AnalyticsReport, UserActivity
from apps.cache.models import CacheEntry
from routers.admin import MultiDBModelAdmin
from tests.apps.admin.conftest import form_data, queries
from tests.apps.legacy.conftest import OldSystem
from tests.factories.blog import CommentFactory, PostFactory, TagFactory, UserProfileFactory
from tests.factories.users import UserFactory


def customer() -> Model:
    OldSystem().customer(7, "Ada Old", created_date="2004-02-03")
    return apps.get_model("legacy.LegacyCustomer").objects.get(pk=7)


def order() -> Model:
    OldSystem().order(9, 404, ord_dt="2004-02-03", ord_rem="Ada paid")
    return apps.get_model("legacy.LegacyOrder").objects.get(pk=9)


@dataclass
class Case:
    """A row to find by `term`; what a new one needs, a related row made first; and what to change in one."""

    label: str
    alias: str
    row: Callable[[], Model]
    term: str = "ada"
    new: dict[str, Any] = field(default_factory=dict)
    needs: Callable[[], Any] = dict
    changed: dict[str, Any] = field(default_factory=dict)
    says: str = ""

    def url(self, page: str, *args: Any) -> str:
        return reverse(f"admin:{self.label.lower().replace('.', '_')}_{page}", args=args)

    @property
    def model(self) -> type[Model]:
        return apps.get_model(self.label)


POST = {"title": "Ada's", "slug": "adas", "author": 1000, "content": "*x*", "status": "published"}
EXPIRES = {"expires_at_0": "2036-01-02", "expires_at_1": "03:04:05"}
PERSON = {"username": "new", "email": "new@example.com", "password1": "correct horse 1", "password2": "correct horse 1"}

WRITABLE = [
    Case("blog.Post", "default", lambda: PostFactory.create(title="Ada"), new=POST, changed={"title": "Changed"},
         needs=lambda: UserFactory.create(pk=1000)),
    Case("blog.Comment", "default", lambda: CommentFactory.create(content="Ada was here"),
         new={"author": 1000, "content": "New"}, changed={"content": "Changed"},
         needs=lambda: (UserFactory.create(pk=1000), {"post": PostFactory.create().pk})[1]),
    Case("blog.Tag", "default", lambda: TagFactory.create(name="ada", slug="ada"), new={"name": "new", "slug": "new"},
         changed={"name": "changed"}),
    Case("users.User", "users_db", lambda: UserFactory.create(username="ada"), new=PERSON, changed={"bio": "Changed"}),
    Case("auth.Group", "users_db", lambda: Group.objects.create(name="ada"), new={"name": "new"},
         changed={"name": "changed"}),
    Case("cache.CacheEntry", "cache_db",
         lambda: CacheEntry.objects.create(key="ada", value=[1], expires_at="2036-01-02T03:04:05Z"),
         new={"key": "new", "value": "[1]", **EXPIRES}, changed={"key": "changed"}),
]  # fmt: skip
VIEW_ONLY = [
    Case("legacy.LegacyCustomer", "legacy_db", customer, says="another system"),
    Case("legacy.LegacyOrder", "legacy_db", order, says="another system"),
    Case("blog.UserProfile", "default", lambda: UserProfileFactory.create(username="ada"), says="a copy"),
    Case("analytics.AnalyticsEvent", "analytics_db", lambda: AnalyticsEvent.objects.create(event_type="ada"),
         says="as it was recorded"),
    Case("analytics.UserActivity", "analytics_db", lambda: UserActivity.objects.create(user_id=1, page_viewed="/ada/"),
         says="as it was recorded"),
    Case("analytics.AnalyticsReport", "analytics_db", lambda: AnalyticsReport.objects.create(date=date(2026, 1, 2)),
         term="2026-01", says="counted from the events"),
]  # fmt: skip
LOCKOUT = Case(
    "axes.AccessAttempt", "users_db", lambda: AccessAttempt.objects.create(username="ada", failures_since_start=1)
)


def parametrized(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Each case with its own databases, and those of the session, the user and the log."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=case.label, marks=pytest.mark.django_db(databases=[case.alias, "users_db"]))
            for case in cases
        ],
    )


def logged(flag: int) -> list[tuple[str, str]]:
    entries = LogEntry.objects.filter(action_flag=flag)
    return list(entries.values_list("content_type__model", "object_repr"))


def test_every_model_is_in_the_admin_except_the_composite_key_one() -> None:
    ours = {"users", "blog", "analytics", "legacy", "cache"}
    models = {model._meta.label for label in ours for model in apps.get_app_config(label).get_models()}
    registered = {model._meta.label for model in admin.site._registry}
    assert models - registered == {"legacy.LegacyOrderLine"}
    assert {case.label for case in [*WRITABLE, *VIEW_ONLY]} == models - {"legacy.LegacyOrderLine"} | {"auth.Group"}


def test_every_admin_is_one_for_several_databases() -> None:
    assert all(isinstance(model_admin, MultiDBModelAdmin) for model_admin in admin.site._registry.values())


@parametrized([*WRITABLE, *VIEW_ONLY, LOCKOUT])
def test_list_finds_the_row_and_says_which_alias_it_shows(case: Case, root: Client) -> None:
    case.row()
    with queries(case.alias) as asked:
        page = root.get(case.url("changelist"), {"q": case.term})
    assert page.context["cl"].result_count == 1
    assert asked[case.alias].captured_queries
    assert page.context["database_alias"] == case.alias
    assert f'">{case.alias}</span>' in page.content.decode()


@parametrized([*WRITABLE, *VIEW_ONLY, LOCKOUT])
def test_search_for_what_is_not_there_finds_nothing(case: Case, root: Client) -> None:
    case.row()
    assert root.get(case.url("changelist"), {"q": "zebra"}).context["cl"].result_count == 0


@parametrized([*WRITABLE, *VIEW_ONLY, LOCKOUT])
def test_form_and_history_show_the_row_and_the_alias(case: Case, root: Client) -> None:
    row = case.row()
    for page in ("change", "history"):
        response = root.get(case.url(page, row.pk))
        assert response.status_code == 200
        assert response.context["database_alias"] == case.alias


@parametrized(WRITABLE)
def test_added_row_is_on_its_database_and_logged(
    case: Case, root: Client, django_capture_on_commit_callbacks: Any
) -> None:
    needed = case.needs()
    data = form_data(root.get(case.url("add"))) | case.new | (needed if isinstance(needed, dict) else {})
    before = case.model._default_manager.using(case.alias).count()
    with django_capture_on_commit_callbacks(using=case.alias, execute=True):
        page = root.post(case.url("add"), data)
    assert page.status_code == 302, page.context["errors"]
    assert case.model._default_manager.using(case.alias).count() == before + 1
    assert [model for model, _ in logged(ADDITION)] == [case.model._meta.model_name]


@parametrized(WRITABLE)
def test_changed_row_is_changed_on_its_database_and_logged(
    case: Case, root: Client, django_capture_on_commit_callbacks: Any
) -> None:
    row = case.row()
    url = case.url("change", row.pk)
    with django_capture_on_commit_callbacks(using=case.alias, execute=True):
        page = root.post(url, form_data(root.get(url)) | case.changed)
    assert page.status_code == 302, page.context["errors"]
    assert case.model._default_manager.using(case.alias).filter(pk=row.pk, **case.changed).exists()
    assert [model for model, _ in logged(CHANGE)] == [case.model._meta.model_name]


@parametrized([*WRITABLE, LOCKOUT])
def test_deleted_row_is_gone_from_its_database_and_logged(
    case: Case, root: Client, django_capture_on_commit_callbacks: Any
) -> None:
    row = case.row()
    confirmation = root.get(case.url("delete", row.pk))
    assert confirmation.context["database_alias"] == case.alias
    with django_capture_on_commit_callbacks(using=case.alias, execute=True):
        assert root.post(case.url("delete", row.pk), {"post": "yes"}).status_code == 302
    assert not case.model._default_manager.using(case.alias).filter(pk=row.pk).exists()
    assert logged(DELETION) == [(case.model._meta.model_name, str(row))]


@parametrized([*WRITABLE, LOCKOUT])
def test_selected_rows_are_deleted_from_their_database_and_logged(
    case: Case, root: Client, django_capture_on_commit_callbacks: Any
) -> None:
    row = case.row()
    data = {"action": "delete_selected", "_selected_action": [row.pk]}
    confirmation = root.post(case.url("changelist"), data)
    assert confirmation.context["database_alias"] == case.alias
    with django_capture_on_commit_callbacks(using=case.alias, execute=True):
        root.post(case.url("changelist"), data | {"post": "yes"})
    assert not case.model._default_manager.using(case.alias).filter(pk=row.pk).exists()
    assert logged(DELETION) == [(case.model._meta.model_name, str(row))]


@parametrized(VIEW_ONLY)
def test_view_only_admin_says_why_and_refuses_every_write(case: Case, root: Client) -> None:
    row = case.row()
    page = root.get(case.url("change", row.pk))
    assert case.says in page.context["view_only_because"]
    assert case.says in page.content.decode()
    assert 'name="_save"' not in page.content.decode()
    assert root.get(case.url("add")).status_code == 403
    assert root.post(case.url("add"), {}).status_code == 403
    assert root.post(case.url("change", row.pk), {}).status_code == 403
    assert root.post(case.url("delete", row.pk), {"post": "yes"}).status_code == 403
    root.post(
        case.url("changelist"), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes", "index": 0}
    )
    assert case.model._default_manager.using(case.alias).filter(pk=row.pk).exists()
