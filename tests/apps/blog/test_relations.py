"""The blog's relations to users_db, each property on the project's own databases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.serializers import deserialize, serialize
from django.db import connections, models, router, transaction
from django.db.models import Prefetch
from django.db.models.signals import post_delete
from django.forms import modelform_factory
from django.template import Context, Template

from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.blog.models import Comment, Post, UserProfile
from apps.users.models import User
from routers.drift import drift
from routers.relations import CrossDatabaseJoin, carry_out
from routers.signals import referenced_row_deleted
from tests.apps.lookups import ALLOWED, EACH, aliases, run, statements, table
from tests.factories.blog import CommentFactory, PostFactory, UserProfileFactory
from tests.factories.users import UserFactory

both = pytest.mark.django_db(databases=["default", "users_db"])
everywhere = pytest.mark.django_db(databases=["default", "users_db", "analytics_db"])
PostForm = modelform_factory(Post, fields=["title", "author"])
GONE = 404


@pytest.fixture
def deleted() -> Iterator[list[dict[str, Any]]]:
    """What the deletion signal has announced."""
    announced = []

    def note(**kwargs: Any) -> None:
        announced.append({"in_transaction": connections[kwargs["using"]].in_atomic_block, **kwargs})

    referenced_row_deleted.connect(note)
    yield announced
    referenced_row_deleted.disconnect(note)


@both
@EACH
def test_lookup_is_allowed_or_refused_before_anything_is_sent(outcome: str, code: str) -> None:
    ada = UserFactory.create()
    UserProfileFactory.create(user_id=ada.pk)
    post = CommentFactory.create(post__author_id=ada.pk).post
    if outcome == ALLOWED:
        run(code, ada=ada, post=post)
        return
    with statements() as sent, pytest.raises(CrossDatabaseJoin) as refused:
        run(code, ada=ada, post=post)
    assert sent == []
    assert "default" in str(refused.value)
    assert "users_db" in str(refused.value)


def test_lookups_are_those_of_the_documentation() -> None:
    assert table() in Path(settings.BASE_DIR, "docs/relations.md").read_text(encoding="utf-8")


def test_refusal_names_both_tables_both_databases_and_the_remedy() -> None:
    with pytest.raises(CrossDatabaseJoin) as refused:
        str(Post.objects.select_related("author").query)
    assert str(refused.value) == (
        "The query follows blog.Post.author into another database: blog_post is on default, users_user on users_db, "
        "and they cannot be joined. For rows to show, use prefetch_related(). For a condition, ask one database for "
        "the ids and the other by them: author__in=[1, 2, …]."
    )


def test_refused_queryset_names_the_lookup_and_the_remedy() -> None:
    with pytest.raises(CrossDatabaseJoin) as refused:
        Post.objects.filter(author__in=User.objects.all())
    assert str(refused.value) == (
        "blog.Post was to be filtered by author__in with a queryset of users.User, which is on users_db and not on "
        "default. Make a list of it first: list(queryset.values_list('pk', flat=True))."
    )


@both
def test_author_is_fetched_once_from_users_db() -> None:
    ada = UserFactory.create()
    post = Post.objects.get(pk=PostFactory.create(author_id=ada.pk).pk)
    with statements() as sent:
        assert post.author == post.author == ada
    assert aliases(sent) == ["users_db"]


@both
@pytest.mark.parametrize("prefetched", [True, False])
def test_author_who_is_gone_is_no_author_and_asked_for_once(prefetched: bool) -> None:
    PostFactory.create(author_id=GONE)
    post = (Post.objects.prefetch_related("author") if prefetched else Post.objects.all()).get()
    with statements() as sent:
        for _ in range(2):
            with pytest.raises(User.DoesNotExist, match=r"Post.author is users.User 404, which .* on users_db"):
                _ = post.author
        assert getattr(post, "author", None) is None
        assert Template("by {{ post.author }}").render(Context({"post": post})) == "by "
    assert len(sent) == (0 if prefetched else 1)


@both
def test_post_without_an_id_of_an_author_has_none() -> None:
    with pytest.raises(User.DoesNotExist, match="has no author"):
        _ = Post().author


@everywhere
def test_event_of_nobody_has_no_user() -> None:
    assert AnalyticsEvent().user is None
    assert AnalyticsEvent.objects.create().user is None
    event = AnalyticsEvent(user_id=GONE)
    event.user = None
    assert event.user_id is None


@both
def test_assigned_author_is_an_id_and_asks_no_router(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = UserFactory.create()
    monkeypatch.setattr(router, "allow_relation", lambda *args, **hints: pytest.fail("asked"))
    post = Post(author=ada, title="A", slug="a", content="x")
    assert (post.author_id, post.author) == (ada.pk, ada)
    post.save()
    assert Post.objects.get(author=ada)._state.db == "default"
    post.author_id = GONE
    with pytest.raises(User.DoesNotExist):
        _ = post.author


def test_only_a_user_can_be_an_author() -> None:
    with pytest.raises(ValueError, match='must be a "User" instance'):
        Post(author=Comment())  # type: ignore[misc]


@both
def test_author_who_was_never_saved_cannot_be_saved_as_one() -> None:
    with pytest.raises(ValueError, match="unsaved related object 'author'"):
        Post(author=User()).save()


@both
def test_users_posts_are_on_default_whatever_is_done_to_them() -> None:
    ada = UserFactory.create()
    post = ada.posts.create(title="A", slug="a", content="x")
    ada.posts.add(other := PostFactory.create())
    with statements() as sent:
        assert set(ada.posts.all()) == {post, other}
        assert ada.posts.get(title="A").author is ada
        assert ada.posts.filter(title="A").update(title="B") == 1
    assert set(aliases(sent)) == {"default"}


@both
def test_profile_is_found_from_both_sides() -> None:
    ada = UserFactory.create()
    UserProfileFactory.create(user_id=ada.pk, bio="Counts.")
    with statements() as sent:
        assert ada.profile.bio == "Counts."
        assert ada.profile.user is ada
    assert aliases(sent) == ["default"]
    with pytest.raises(UserProfile.DoesNotExist, match="has no profile"):
        _ = UserFactory.create().profile


@both
def test_assigned_profile_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "allow_relation", lambda *args, **hints: pytest.fail("asked"))
    ada, profile = UserFactory.create(), UserProfile(username="ada")
    ada.profile = profile
    assert (profile.user_id, profile.user, ada.profile) == (ada.pk, ada, profile)
    with pytest.raises(ValueError, match='must be a "UserProfile" instance'):
        ada.profile = Post()  # type: ignore[assignment]


@both
def test_prefetch_of_authors_asks_once_however_many_posts_they_have() -> None:
    authors = UserFactory.create_batch(3)
    for author in authors * 3:
        PostFactory.create(author_id=author.pk)
    PostFactory.create(author_id=GONE)
    with statements() as sent:
        posts = list(Post.objects.prefetch_related("author").order_by("pk"))
        assert [post.author for post in posts[:9]] == authors * 3
    assert aliases(sent) == ["default", "users_db"]


@both
def test_prefetch_asks_for_a_chunk_of_ids_at_a_time() -> None:
    users = User.objects.bulk_create(User(username=f"u{n}", email=f"u{n}@example.com") for n in range(2_000))
    UserProfile.objects.bulk_create(UserProfile(user=user) for user in users)
    Post.objects.bulk_create(Post(author=user, slug=user.username) for user in users for _ in (1,))
    with statements() as sent:
        posts = list(Post.objects.prefetch_related("author"))
        assert all(post.author.username == post.slug for post in posts)
    assert aliases(sent) == ["default"] + ["users_db"] * 3
    with statements() as sent:
        people = list(User.objects.prefetch_related("posts", "profile"))
        assert all([post.slug for post in user.posts.all()] == [user.username] for user in people)
        assert all(user.profile.user is user for user in people)
    assert aliases(sent) == ["users_db"] + ["default"] * 6


@both
@pytest.mark.skipif(django.VERSION < (6, 1), reason="needs fetch modes, which Django has from 6.1: install that")
def test_fetch_mode_of_peers_fetches_all_authors_at_once() -> None:
    for user in UserFactory.create_batch(2):
        PostFactory.create(author_id=user.pk)
    PostFactory.create(author_id=GONE)
    posts: Any = Post.objects.all()
    with statements() as sent:
        found = [getattr(post, "author", None) for post in posts.fetch_mode(vars(models)["FETCH_PEERS"])]
    assert sum(author is None for author in found) == 1
    assert aliases(sent) == ["default", "users_db"]


@both
def test_prefetch_takes_a_queryset_a_limit_and_what_is_behind_it() -> None:
    ada, bob = UserFactory.create_batch(2)
    newest = [CommentFactory.create(post__author_id=user.pk).post for user in (ada, ada, bob, bob)][1::2]
    queryset = Post.objects.order_by("-pk").prefetch_related("comments")[:1]
    with statements() as sent:
        people = list(User.objects.order_by("pk").prefetch_related(Prefetch("posts", queryset, to_attr="newest")))
        assert [user.newest[0] for user in people] == newest
        assert all(len(user.newest[0].comments.all()) == 1 for user in people)
    assert aliases(sent) == ["users_db", "default", "default"]


@both
def test_prefetch_goes_through_several_databases_and_counts_nobody_twice() -> None:
    ada = UserFactory.create()
    for post in PostFactory.create_batch(2, author_id=ada.pk):
        CommentFactory.create(post=post, author_id=ada.pk)
    comments = Comment.objects.prefetch_related("author__posts__author")
    assert [len(comment.author.posts.all()) for comment in comments] == [2, 2]


@both
def test_full_clean_looks_for_the_author_in_users_db() -> None:
    ada = UserFactory.create()
    post = Post(title="A", slug="a", content="x", content_html="x", author=ada)
    with statements() as sent:
        post.full_clean()
    assert "users_db" in aliases(sent)
    post.author_id = GONE
    with pytest.raises(ValidationError) as refused:
        post.full_clean()
    assert refused.value.message_dict.keys() == {"author"}


@both
def test_stored_author_who_is_gone_stays_valid_and_another_one_does_not() -> None:
    post = PostFactory.create(author_id=GONE)
    post.full_clean()
    post.author_id = GONE + 1
    with pytest.raises(ValidationError, match=r"405 (is not a valid|does not exist)"):
        post.full_clean()
    post.author_id = None
    with pytest.raises(ValidationError, match="cannot be null"):
        post.full_clean()


@both
def test_form_offers_the_users_of_users_db() -> None:
    ada = UserFactory.create(username="ada")
    assert ">ada</option>" in PostForm().as_p()
    form = PostForm({"title": "A", "author": ada.pk})
    assert form.is_valid()
    assert form.save(commit=False).author == ada
    assert PostForm({"title": "A", "author": GONE}).errors.keys() == {"author"}


@both
def test_form_keeps_an_author_who_is_gone_but_takes_no_other_one() -> None:
    post = PostFactory.create(author_id=GONE)
    form = PostForm({"title": "Changed", "author": GONE}, instance=post)
    assert form.is_valid(), form.errors
    form.save()
    assert Post.objects.values_list("title", "author").get() == ("Changed", GONE)
    assert PostForm({"title": "A", "author": GONE + 1}, instance=post).errors.keys() == {"author"}


@both
@pytest.mark.parametrize("format_", ["json", "xml"])
def test_rows_are_dumped_and_loaded_by_id_on_one_database(format_: str) -> None:
    post = PostFactory.create(author_id=GONE)
    with statements() as sent:
        text = serialize(format_, [post])
        loaded: Any = next(iter(deserialize(format_, text, using="default"))).object
    assert (loaded.pk, loaded.author_id) == (post.pk, GONE)
    assert "users_db" not in aliases(sent)


@pytest.mark.django_db(databases=["default", "analytics_db"], transaction=True)
@pytest.mark.parametrize(
    ("app", "migration", "alias"), [("blog", "0003", "default"), ("analytics", "0002", "analytics_db")]
)
@pytest.mark.parametrize("backwards", [True, False])
def test_migration_to_relations_sends_no_sql(app: str, migration: str, alias: str, backwards: bool) -> None:
    out = StringIO()
    call_command("sqlmigrate", app, migration, database=alias, backwards=backwards, stdout=out, no_color=True)
    sent = [line for line in out.getvalue().splitlines() if line and not line.startswith("--")]
    assert [line for line in sent if line not in ("BEGIN;", "COMMIT;", "START TRANSACTION;")] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Post, Comment])
def test_database_has_the_index_that_the_model_knows(model: Any) -> None:
    connection = connections["default"]
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, model._meta.db_table)
    with connection.schema_editor(collect_sql=True) as editor:
        name = editor._create_index_name(model._meta.db_table, ["author_id"])  # type: ignore[attr-defined]
    assert there[name]["columns"] == ["author_id"]


@everywhere
@pytest.mark.parametrize("model", [Post, Comment, UserProfile, AnalyticsEvent, UserActivity])
def test_database_has_the_columns_that_the_model_expects(model: Any) -> None:
    assert drift(connections[router.db_for_write(model)], [model]) == []


@everywhere
@pytest.mark.parametrize("way", ["instance", "queryset"])
def test_deletion_is_announced_once_for_each_field_in_its_transaction(way: str, deleted: list[dict[str, Any]]) -> None:
    ada = UserFactory.create()
    pk = ada.pk
    (ada if way == "instance" else User.objects.filter(pk=pk)).delete()
    fields = {str(announced["field"]) for announced in deleted}
    assert fields == {
        "blog.Post.author", "blog.Comment.author", "blog.UserProfile.user",
        "analytics.AnalyticsEvent.user", "analytics.UserActivity.user",
    }  # fmt: skip
    assert len(deleted) == len(fields)
    assert all(
        (each["sender"], each["pk"], each["using"], each["in_transaction"]) == (User, pk, "users_db", True)
        for each in deleted
    )


@pytest.mark.django_db(databases=["default", "users_db", "analytics_db"], transaction=True)
def test_subscriber_that_fails_undoes_the_deletion() -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("no disk")

    ada = UserFactory.create()
    referenced_row_deleted.connect(fail)
    try:
        with pytest.raises(RuntimeError, match="no disk"):
            ada.delete()
    finally:
        referenced_row_deleted.disconnect(fail)
    assert User.objects.filter(username=ada.username).exists()


@both
def test_deletion_itself_touches_nothing_in_another_database() -> None:
    ada = UserFactory.create()
    PostFactory.create(author_id=ada.pk)
    with statements() as sent:
        ada.delete()
    assert set(aliases(sent)) == {"users_db"}


def field(model: Any, name: str) -> Any:
    return model._meta.get_field(name)


@both
def test_policy_keep_changes_nothing() -> None:
    PostFactory.create(author_id=GONE)
    with statements() as sent:
        assert carry_out(field(Post, "author"), [GONE]) == 0
    assert sent == []


@everywhere
def test_policy_cascade_deletes_in_batches_and_only_what_pointed_there() -> None:
    for user_id in (GONE, GONE, GONE, 1):
        UserActivity.objects.create(user_id=user_id, page_viewed="/")
    assert carry_out(field(UserActivity, "user"), [GONE], batch_size=2) == 3
    assert carry_out(field(UserActivity, "user"), [GONE]) == 0
    assert [row.user_id for row in UserActivity.objects.all()] == [1]


@everywhere
def test_policy_set_null_keeps_the_rows_and_forgets_whose_they_were() -> None:
    for user_id in (GONE, GONE, GONE, 1):
        AnalyticsEvent.objects.create(user_id=user_id)
    assert carry_out(field(AnalyticsEvent, "user"), [GONE, GONE + 1], using="analytics_db", batch_size=2) == 3
    assert sorted(AnalyticsEvent.objects.values_list("user", flat=True), key=str) == [1, None, None, None]


@contextmanager
def once(act: Callable[[], Any], *, after: str = "", before: str = "") -> Iterator[None]:
    """Another process, that acts right after, or before, the first statement on analytics_db that begins like this."""
    left = [act]

    def step_in(execute: Any, sql: str, *args: Any) -> Any:
        meant = bool(left) and sql.startswith(after or before)
        if meant and before:
            left.pop()()
        result = execute(sql, *args)
        if meant and after:
            left.pop()()
        return result

    with connections["analytics_db"].execute_wrapper(step_in):
        yield
    assert not left


def point_the_last_elsewhere(model: Any) -> None:
    """At somebody who lives."""
    model.objects.filter(pk=model.objects.latest("pk").pk).update(user_id=1)


@everywhere
def test_row_that_is_pointed_elsewhere_before_it_is_set_null_keeps_whose_it_is() -> None:
    AnalyticsEvent.objects.bulk_create(AnalyticsEvent(user_id=GONE) for _ in range(3))
    with once(lambda: point_the_last_elsewhere(AnalyticsEvent), after="SELECT"):
        assert carry_out(field(AnalyticsEvent, "user"), [GONE]) == 2
    assert list(AnalyticsEvent.objects.order_by("pk").values_list("user", flat=True)) == [None, None, 1]


@pytest.fixture(params=["in one statement", "row by row"])
def noted(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Whose activity is deleted, where Django is made to tell of each row."""
    gone: list[Any] = []

    def note(instance: Any, **kwargs: Any) -> None:
        gone.append(instance.user_id)

    if request.param == "row by row":
        post_delete.connect(note, sender=UserActivity)
    yield gone
    post_delete.disconnect(note, sender=UserActivity)


@everywhere
def test_row_that_is_pointed_elsewhere_before_it_is_deleted_stays(noted: list[Any]) -> None:
    UserActivity.objects.bulk_create(UserActivity(user_id=GONE, page_viewed="/") for _ in range(3))
    with once(lambda: point_the_last_elsewhere(UserActivity), after="SELECT"):
        assert carry_out(field(UserActivity, "user"), [GONE]) == 2
    assert [row.user_id for row in UserActivity.objects.all()] == [1]
    assert 1 not in noted


@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_nobody_points_a_row_elsewhere_between_the_last_look_and_the_delete(noted: list[Any]) -> None:
    if connections["analytics_db"].vendor != "postgresql":
        pytest.skip("needs analytics_db on PostgreSQL: python -m tests.servers python -m pytest tests/apps/blog")
    UserActivity.objects.create(user_id=GONE, page_viewed="/")
    refused: list[bool] = []

    def try_to_point_elsewhere() -> None:
        with transaction.atomic(using="analytics_db"):
            refused.append(not UserActivity.objects.select_for_update(skip_locked=True))
        connections["analytics_db"].close()

    def in_another_session() -> None:
        other = Thread(target=try_to_point_elsewhere)
        other.start()
        other.join()

    with once(in_another_session, before="DELETE"):
        assert carry_out(field(UserActivity, "user"), [GONE]) == 1
    assert refused == [True]


@both
def test_policy_is_carried_out_for_more_ids_than_a_statement_takes() -> None:
    UserProfileFactory.create_batch(2)
    with transaction.atomic(using="default"):
        assert carry_out(field(UserProfile, "user"), range(1, 2_500)) == 2
