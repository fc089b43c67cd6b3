"""The lookups, where users and blog share one PostgreSQL database: what joins would work there, and is refused."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

import pytest
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker

from apps.blog.models import Post
from apps.users.models import User
from config.settings.databases import parse_url
from routers.joins import refuse_joins
from routers.relations import CrossDatabaseJoin
from tests.apps.lookups import ALLOWED, EACH, FIELD, run
from tests.factories.blog import CommentFactory, UserProfileFactory
from tests.factories.users import UserFactory
from tests.servers.processes import Postgres

ALIASES = ("default", "users_db")
APPS = ("contenttypes", "auth", "users", "blog")


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.url(postgres.create_database("one_for_both"))


@pytest.fixture(scope="module")
def rows(url: str, django_db_blocker: DjangoDbBlocker) -> tuple[User, Post]:
    """A user and their post, in the one database."""
    with django_db_blocker.unblock(), both_on(url):
        with connections["default"].schema_editor() as editor:
            for model in chain.from_iterable(apps.get_app_config(label).get_models() for label in APPS):
                editor.create_model(model)
        ada = UserFactory.create()
        UserProfileFactory.create(user_id=ada.pk)
        return ada, CommentFactory.create(post__author_id=ada.pk).post


@pytest.fixture
def ada_and_post(rows: tuple[User, Post], url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[User, Post]]:
    with django_db_blocker.unblock(), both_on(url):
        yield User.objects.get(pk=rows[0].pk), Post.objects.get(pk=rows[1].pk)


def both_on(url: str) -> ExitStack:
    """Django's connections to both aliases lead to this database."""
    stack = ExitStack()
    for alias in ALIASES:
        stack.callback(connections.__setitem__, alias, connections[alias])
        handler = ConnectionHandler({DEFAULT_DB_ALIAS: {}, alias: parse_url("URL", url)})
        connections[alias] = handler[alias]
        stack.callback(connections[alias].close)
    return stack


@EACH
def test_lookup_is_allowed_or_refused_though_a_join_would_work(
    outcome: str, code: str, ada_and_post: tuple[User, Post]
) -> None:
    ada, post = ada_and_post
    if outcome == ALLOWED:
        run(code, ada=ada, post=post)
        return
    with pytest.raises(CrossDatabaseJoin):
        run(code, ada=ada, post=post)


@EACH
def test_without_the_guard_the_field_refuses_and_the_rest_would_work_in_silence(
    outcome: str, code: str, ada_and_post: tuple[User, Post]
) -> None:
    ada, post = ada_and_post
    for alias in ALIASES:
        connections[alias].ensure_connection()
        connections[alias].execute_wrappers.remove(refuse_joins)
    if outcome == FIELD:
        with pytest.raises(CrossDatabaseJoin):
            run(code, ada=ada, post=post)
    else:
        run(code, ada=ada, post=post)
