from xml.etree import ElementTree as ET

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from tests.factories.blog import PostFactory, TagFactory, UserProfileFactory

pytestmark = pytest.mark.django_db(databases=["default"])

ATOM = {"a": "http://www.w3.org/2005/Atom"}


def feed(client: Client) -> ET.Element:
    response = client.get(reverse("blog:feed"))
    assert response["Content-Type"].startswith("application/atom+xml")
    return ET.fromstring(response.content)


def test_feed_holds_the_newest_twenty_published_posts(client: Client) -> None:
    posts = PostFactory.create_batch(22)
    PostFactory.create(draft=True)
    titles = [title.text for title in feed(client).findall("a:entry/a:title", ATOM)]
    assert titles == [post.title for post in reversed(posts)][:20]


def test_feed_entry_has_an_absolute_link_and_its_author_by_name(client: Client) -> None:
    UserProfileFactory.create(user_id=1000, display_name="Maya Lindqvist")
    post = PostFactory.create()
    post.tags.add(TagFactory.create(name="c#"))
    entry = feed(client).find("a:entry", ATOM)
    assert entry is not None
    link = entry.find("a:link", ATOM)
    assert link is not None
    assert link.get("href") == f"http://testserver{post.get_absolute_url()}"
    assert entry.findtext("a:author/a:name", namespaces=ATOM) == "Maya Lindqvist"
    assert [category.get("term") for category in entry.findall("a:category", ATOM)] == ["c#"]


def test_feed_names_a_deleted_user(client: Client) -> None:
    PostFactory.create(author_id=404)
    assert feed(client).findtext("a:entry/a:author/a:name", namespaces=ATOM) == "Deleted user"


def test_feed_survives_characters_that_xml_cannot_hold(client: Client) -> None:
    UserProfileFactory.create(user_id=1000, display_name="M\x0caya")
    PostFactory.create(title="Bell \x07 \ufffe <&>", content="\x0b\x1b")
    assert feed(client).findtext("a:entry/a:title", namespaces=ATOM) == "Bell   <&>"


def test_feed_takes_three_queries_whatever_its_length(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for post in PostFactory.create_batch(5):
        post.tags.add(TagFactory.create())
    with django_assert_num_queries(3, using="default"):
        feed(client)


def test_empty_feed_is_a_feed(client: Client) -> None:
    assert feed(client).findall("a:entry", ATOM) == []


def test_sitemap_lists_published_posts_only(client: Client) -> None:
    post, draft = PostFactory.create(), PostFactory.create(draft=True)
    text = client.get(reverse("blog:sitemap")).text
    assert reverse("blog:sitemap") == "/blog/sitemap.xml"
    assert f"<loc>http://testserver{post.get_absolute_url()}</loc>" in text
    assert draft.slug not in text


@pytest.mark.parametrize("page", ["x", "\x00", "9" * 400, "-1"])
def test_sitemap_page_that_is_not_there_is_not_found(client: Client, page: str) -> None:
    assert client.get(reverse("blog:sitemap"), {"p": page}).status_code == 404
