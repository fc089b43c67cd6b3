import importlib

import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.test import Client
from django.urls import reverse

from apps.blog import selectors
from tests.factories.blog import PostFactory

pytestmark = pytest.mark.django_db(databases=["default"])


def found(client: Client, text: str) -> list[str]:
    result = client.get(reverse("blog:search"), {"q": text}).context["result"]
    return [post.title for post in result.posts]


def test_search_finds_in_title_and_content(client: Client) -> None:
    PostFactory.create(title="Replicas lie")
    PostFactory.create(title="Other", content="about replicas")
    PostFactory.create(title="None of it")
    assert found(client, "replicas") == ["Other", "Replicas lie"]


def test_every_word_has_to_be_there(client: Client) -> None:
    PostFactory.create(title="Replicas lie", content="often")
    PostFactory.create(title="Replicas")
    assert found(client, "often  replicas") == ["Replicas lie"]


def test_search_finds_no_drafts(client: Client) -> None:
    PostFactory.create(title="Replicas", draft=True)
    assert found(client, "replicas") == []


@pytest.mark.parametrize("text", ["%", "_", "'", '"', "\\", "& | ! (", "a" * 200, "x " * 99])
def test_special_characters_are_only_characters(client: Client, text: str) -> None:
    PostFactory.create(title="Plain", content="words")
    assert found(client, text) == []


def test_the_page_says_which_search_ran(client: Client) -> None:
    said = {
        "sqlite": "Posts that contain each of the words as typed, the newest first.",
        "postgresql": "PostgreSQL full-text search, the best match first.",
    }
    response = client.get(reverse("blog:search"), {"q": "x"})
    assert said[connections["default"].vendor] in response.text


def test_no_more_hits_are_shown_than_the_limit(client: Client) -> None:
    PostFactory.create_batch(selectors.HITS_SHOWN + 1, title="Replicas")
    assert len(found(client, "replicas")) == selectors.HITS_SHOWN


@pytest.mark.parametrize("query", [{}, {"q": ""}, {"q": "   "}])
def test_search_for_nothing_is_the_empty_form(client: Client, query: dict[str, str]) -> None:
    response = client.get(reverse("blog:search"), query)
    assert response.status_code == 200
    assert response.context["result"] is None


@pytest.mark.parametrize("text", ["a\x00b", "x" * 201])
def test_bad_input_is_a_message(client: Client, text: str) -> None:
    response = client.get(reverse("blog:search"), {"q": text})
    assert response.status_code == 200
    assert response.context["search_form"].errors


def test_full_text_compiles_to_the_expression_of_the_index() -> None:
    postgresql = DatabaseWrapper({"NAME": "never connected", "OPTIONS": {}, "TIME_ZONE": None}, alias="default")
    posts = selectors.full_text(selectors.published_posts(), "lag")
    sql, params = posts.query.get_compiler(connection=postgresql).as_sql()
    # What stands for these parameters in the statement, so that the two can be compared as text.
    text = (
        " ".join((sql % tuple(f"'{value}'" for value in params)).split()).replace('"blog_post".', "").replace('"', "")
    )
    index = importlib.import_module("apps.blog.migrations.0002_search").Migration.operations[0].sql
    expression = " ".join(index[index.index("to_tsvector") : index.rindex(")")].split())
    assert f"{expression} @@ (websearch_to_tsquery('english'::regconfig, 'lag'))" in text
