from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from apps.blog import selectors
from apps.blog.models import Post
from apps.blog.pagination import PAGE_SIZE, Cursor, paginate
from tests.factories.blog import PostFactory, TagFactory

GARBAGE = [
    "",
    "x",
    "garbage",
    "\x00",
    "é",
    "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "A" * 22 + "=",
    "A" * 21,
    "A" * 21 + "*",
    "A" * 10_000,
    "f" * 21 + "w",  # a date after the year 9999
    "gAAAAAAAAAAAAAAAAAAAAA",  # a date before the year 1
    "-1",
    "1" * 400,
    "%00",
    "' OR 1=1 --",
]


@pytest.mark.parametrize(("year", "pk"), [(1, 1), (1969, 2**63 - 1), (2026, 1), (9999, -5)])
def test_cursor_survives_the_way_there_and_back(year: int, pk: int) -> None:
    cursor = Cursor(datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), pk)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cursor"):
        Cursor.parse(text)


@pytest.mark.django_db(databases=["default"])
@pytest.mark.parametrize("name", ["before", "after"])
@pytest.mark.parametrize("text", GARBAGE)
def test_page_of_a_garbage_cursor_is_not_found(client: Client, name: str, text: str) -> None:
    TagFactory.create(slug="one")
    for url in (reverse("blog:list"), reverse("blog:tag", args=["one"])):
        assert client.get(url, {name: text}).status_code == 404


@pytest.mark.django_db(databases=["default"])
def test_page_before_and_after_at_once_is_not_found(client: Client) -> None:
    cursor = str(Cursor.of(PostFactory.create()))
    assert client.get(reverse("blog:list"), {"before": cursor, "after": cursor}).status_code == 404


@pytest.mark.django_db(databases=["default"])
@pytest.mark.parametrize("year", [1, 9999])
def test_cursor_at_the_end_of_time_is_a_page(client: Client, year: int) -> None:
    cursor = str(Cursor(datetime(year, 1, 1, tzinfo=UTC), 2**63 - 1))
    PostFactory.create()
    for name in ("before", "after"):
        assert client.get(reverse("blog:list"), {name: cursor}).status_code == 200


@pytest.mark.django_db(databases=["default"])
@pytest.mark.parametrize("same_time", [False, True])
def test_walking_there_and_back_shows_each_post_once(*, same_time: bool) -> None:
    size = PAGE_SIZE * 2 + 3
    times = {"published_at": datetime(2026, 1, 1, tzinfo=UTC)} if same_time else {}
    expected = [post.pk for post in reversed(PostFactory.create_batch(size, **times))]
    posts = selectors.published_posts()

    pages = [paginate(posts)]
    while pages[-1].older:
        pages.append(paginate(posts, before=pages[-1].older))
    assert [post.pk for page in pages for post in page.posts] == expected

    back = [pages[-1]]
    while back[-1].newer:
        back.append(paginate(posts, after=back[-1].newer))
    assert [[post.pk for post in page.posts] for page in reversed(back)] == [
        [post.pk for post in page.posts] for page in pages
    ]


@pytest.mark.django_db(databases=["default"])
def test_new_post_does_not_shift_the_second_page() -> None:
    PostFactory.create_batch(PAGE_SIZE + 5)
    posts = selectors.published_posts()
    first = paginate(posts)
    PostFactory.create()
    second = paginate(posts, before=first.older)
    assert not {post.pk for post in first.posts} & {post.pk for post in second.posts}
    assert len(second.posts) == 5


@pytest.mark.django_db(databases=["default"])
def test_one_full_page_has_no_neighbours() -> None:
    PostFactory.create_batch(PAGE_SIZE)
    page = paginate(selectors.published_posts())
    assert (page.newer, page.older) == (None, None)


@pytest.mark.django_db(databases=["default"])
def test_page_after_the_newest_is_empty(client: Client) -> None:
    cursor = str(Cursor.of(PostFactory.create()))
    response = client.get(reverse("blog:list"), {"after": cursor})
    assert "There are no posts here." in response.text


@pytest.mark.django_db(databases=["default"])
def test_list_links_to_the_older_page_and_that_one_back(client: Client) -> None:
    PostFactory.create_batch(PAGE_SIZE + 1)
    first = client.get(reverse("blog:list"))
    assert first.context["newer_url"] is None
    second = client.get(reverse("blog:list") + first.context["older_url"])
    assert second.context["older_url"] is None
    assert len(second.context["posts"]) == 1
    again = client.get(reverse("blog:list") + second.context["newer_url"])
    assert again.context["posts"] == first.context["posts"]


@pytest.mark.django_db(databases=["default"])
def test_tag_page_turns_within_the_tag(client: Client) -> None:
    tag = TagFactory.create(slug="one")
    for post in PostFactory.create_batch(PAGE_SIZE + 2):
        post.tags.add(tag)
    PostFactory.create_batch(3)
    PostFactory.create(draft=True).tags.add(tag)
    url = tag.get_absolute_url()
    first = client.get(url)
    second = client.get(url + first.context["older_url"])
    shown: list[Post] = [*first.context["posts"], *second.context["posts"]]
    assert len(shown) == PAGE_SIZE + 2
    assert all(tag in post.tags.all() and post.status == Post.Status.PUBLISHED for post in shown)
