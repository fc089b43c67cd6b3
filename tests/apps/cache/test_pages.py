import re

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.cache.models import CacheEntry
from apps.cache.views import PAGE_SIZE, VALUE_SHOWN
from tests.factories.cache import CacheEntryFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["users_db", "cache_db"])


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(UserFactory.create(is_staff=True))
    return client


def shown(client: Client, query: str = "") -> list[str]:
    """The keys on a page of the list."""
    response = client.get(f"/cache/{query}")
    assert response.status_code == 200
    return re.findall(r'<th scope="row"><a href="/cache/\d+/">(.*?)</a>', response.content.decode())


PATHS = ["/cache/", "/cache/1/", "/cache/1/purge/", "/cache/purge/expired/", "/cache/purge/all/"]


@pytest.mark.parametrize("path", PATHS)
def test_visitor_is_sent_to_log_in_and_no_entry_is_read(
    client: Client, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0, using="cache_db"):
        response = client.get(path)
    assert response.status_code == 302
    assert response["Location"] == f"/users/login/?next={path}"


@pytest.mark.parametrize("path", PATHS)
def test_person_who_is_not_staff_may_not_look(
    client: Client, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(UserFactory.create())
    with django_assert_num_queries(0, using="cache_db"):
        response = client.get(path)
    assert response.status_code == 403
    assert b"You may not open this page" in response.content


@pytest.mark.parametrize("path", ["/cache/{}/purge/", "/cache/purge/expired/", "/cache/purge/all/"])
@pytest.mark.parametrize("is_member", [False, True])
def test_nobody_but_staff_can_purge(client: Client, path: str, *, is_member: bool) -> None:
    entry = CacheEntryFactory.create(expired=True)
    if is_member:
        client.force_login(UserFactory.create())
    assert client.post(path.format(entry.pk)).status_code == (403 if is_member else 302)
    assert CacheEntry.objects.exists()


def test_only_staff_have_the_cache_in_their_navigation(client: Client) -> None:
    client.force_login(UserFactory.create())
    assert 'href="/cache/"' not in client.get("/users/account/").content.decode()
    client.force_login(UserFactory.create(is_staff=True))
    assert 'href="/cache/"' in client.get("/users/account/").content.decode()


@pytest.mark.parametrize("entries", [1, 2 * PAGE_SIZE])
def test_list_takes_two_queries_however_many_entries(
    staff: Client, django_assert_num_queries: DjangoAssertNumQueries, entries: int
) -> None:
    CacheEntryFactory.create_batch(entries)
    with django_assert_num_queries(2, using="cache_db"):
        assert len(shown(staff)) == min(entries, PAGE_SIZE)


def test_pages_hold_every_entry_once(staff: Client) -> None:
    made = [entry.key for entry in CacheEntryFactory.create_batch(PAGE_SIZE + 1)]
    assert shown(staff) + shown(staff, "?page=2") == made


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", ["A:3", "a%:4", "a:1", "a:2"]),
        ("?key=a:", ["a:1", "a:2"]),
        ("?key=a%25", ["a%:4"]),
        ("?key=_", []),
        ("?state=live", ["A:3", "a%:4", "a:1"]),
        ("?state=expired", ["a:2"]),
        ("?key=a:&state=live", ["a:1"]),
    ],
)
def test_filter_by_prefix_and_state(staff: Client, query: str, keys: list[str]) -> None:
    for key in ("a:1", "A:3", "a%:4"):
        CacheEntryFactory.create(key=key)
    CacheEntryFactory.create(key="a:2", expired=True)
    assert shown(staff, query) == keys


@pytest.mark.parametrize("query", ["?key=%00", f"?key={'x' * 251}", "?state=asleep"])
def test_bad_filter_is_a_message_beside_the_field(staff: Client, query: str) -> None:
    CacheEntryFactory.create()
    response = staff.get(f"/cache/{query}")
    assert response.status_code == 200
    assert b"field-error" in response.content


@pytest.mark.parametrize("query", ["?page=0", "?page=2", "?page=x", f"?page={'9' * 5000}"])
def test_page_that_is_not_there_is_404(staff: Client, query: str) -> None:
    assert staff.get(f"/cache/{query}").status_code == 404


@pytest.mark.parametrize("path", ["/cache/1/", "/cache/1/purge/", f"/cache/{2**63}/", f"/cache/{'9' * 5000}/"])
def test_entry_that_is_not_there_is_404(staff: Client, path: str) -> None:
    assert staff.get(path).status_code == 404


def test_value_is_shown_indented_and_escaped(staff: Client) -> None:
    entry = CacheEntryFactory.create(key="<i>", value={"ü": ["<script>"]})
    page = staff.get(f"/cache/{entry.pk}/").content.decode()
    assert "<pre>{\n  &quot;ü&quot;: [\n    &quot;&lt;script&gt;&quot;\n  ]\n}</pre>" in page
    assert "&lt;i&gt;" in page
    assert "<script" not in page


def test_long_value_is_cut_and_the_page_says_so(staff: Client) -> None:
    entry = CacheEntryFactory.create(value="x" * VALUE_SHOWN)
    page = staff.get(f"/cache/{entry.pk}/").content.decode()
    assert f"The first {VALUE_SHOWN} of {VALUE_SHOWN + 2} characters." in page


def test_value_none_is_shown_as_null(staff: Client) -> None:
    entry = CacheEntryFactory.create(value=None)
    assert "<pre>null</pre>" in staff.get(f"/cache/{entry.pk}/").content.decode()


def test_one_entry_is_purged_after_a_question(staff: Client) -> None:
    entry, other = CacheEntryFactory.create_batch(2)
    path = f"/cache/{entry.pk}/purge/"
    assert f"Purge “{entry.key}”?" in staff.get(path).content.decode()
    assert CacheEntry.objects.count() == 2
    assert "1 entry has been purged." in staff.post(path, follow=True).content.decode()
    assert CacheEntry.objects.get() == other


@pytest.mark.parametrize(
    ("path", "left", "says"),
    [
        ("/cache/purge/expired/", ["live"], "2 entries have been purged."),
        ("/cache/purge/all/", [], "3 entries have been purged."),
    ],
)
def test_several_are_purged_after_a_question_with_their_number(
    staff: Client, path: str, left: list[str], says: str
) -> None:
    CacheEntryFactory.create(key="live")
    CacheEntryFactory.create_batch(2, expired=True)
    assert f"{says[0]} entries will be gone." in staff.get(path).content.decode()
    assert CacheEntry.objects.count() == 3
    assert says in staff.post(path, follow=True).content.decode()
    assert list(CacheEntry.objects.values_list("key", flat=True)) == left


def test_question_without_anything_to_purge_has_no_button(staff: Client) -> None:
    page = staff.get("/cache/purge/all/").content.decode()
    assert "There is nothing to purge." in page
    assert "button danger" not in page


def test_purge_needs_the_token_of_the_form() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(UserFactory.create(is_staff=True))
    CacheEntryFactory.create()
    assert client.post("/cache/purge/all/").status_code == 403
    assert CacheEntry.objects.exists()


def test_pages_are_kept_by_no_cache(staff: Client) -> None:
    assert "no-store" in staff.get("/cache/")["Cache-Control"]
