"""Orphans and copies that differ, with the demo's relations: what is found, what is mended, and what is left alone."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.blog.models import Comment, Post, UserProfile
from apps.outbox import reconciling, registry
from apps.outbox.models import Message
from apps.outbox.reconciling import Reconciliation, relations
from apps.outbox.registry import Handler
from apps.outbox.relay import Relay
from apps.users import services
from apps.users.models import User
from apps.users.services import announce_again, create_user_with_profile
from routers.relations import KEEP
from tests.factories.blog import PostFactory, UserProfileFactory
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])

NAMES = [
    "blog.UserProfile.user", "blog.Post.author", "blog.Comment.author",
    "analytics.AnalyticsEvent.user", "analytics.UserActivity.user",
]  # fmt: skip
PROFILE, POST, COMMENT, EVENT, ACTIVITY = NAMES
Found = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def only_what_a_test_declares() -> None:
    """Not here: what is tested is the demo's own."""


def reconcile(capsys: pytest.CaptureFixture[str], *args: Any, status: int | None = None) -> Found:
    """What the command finds, by relation. It must fail if `status` is 1, or if it finds something."""
    failed = False
    try:
        call_command("reconcile", "--json", *args)
    except CommandError:
        failed = True
    found = {row["relation"]: row for row in json.loads(capsys.readouterr().out)}
    broken = any(row[kind] for row in found.values() for kind in ("orphans", "missing", "differing", "stuck"))
    assert failed is (bool(status) if status is not None else broken)
    return found


def sql(alias: str, statement: str, *params: Any) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, params)


def vanish(*users: User) -> None:
    """Without a word to anybody."""
    for user in users:
        sql("users_db", "DELETE FROM users_user WHERE id = %s", user.pk)


def person(name: str = "ada") -> User:
    """With a profile that is what it should be."""
    user = create_user_with_profile(username=name, email=f"{name}@example.com", password="x")
    Relay().drain()
    return user


def leave_traces(user: User) -> None:
    post = PostFactory.create(author_id=user.pk)
    Comment.objects.create(post=post, author_id=user.pk, content="!")
    for _ in range(3):
        AnalyticsEvent.objects.create(event_type="x", user_id=user.pk)
        UserActivity.objects.create(user_id=user.pk, page_viewed="/")


def test_every_relation_of_the_models_is_looked_at() -> None:
    assert {str(each): each.alias for each in relations()} == {
        PROFILE: "default", POST: "default", COMMENT: "default", EVENT: "analytics_db", ACTIVITY: "analytics_db",
    }  # fmt: skip


def test_nothing_is_found_where_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    leave_traces(person())
    AnalyticsEvent.objects.create(event_type="nobody's")
    found = reconcile(capsys, status=0)
    assert list(found) == NAMES
    assert {name: row["checked"] for name, row in found.items()} == dict.fromkeys(NAMES, 1) | {PROFILE: 2}
    assert not any(row["ids"] for row in found.values())


def test_rows_whose_parent_is_gone_are_found_and_nothing_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    user, other = person("ada"), person("bob")
    leave_traces(user)
    leave_traces(other)
    vanish(user)
    found = reconcile(capsys)
    assert {name: (row["orphans"], row["kept"]) for name, row in found.items()} == {
        PROFILE: (1, 0), POST: (0, 1), COMMENT: (0, 1), EVENT: (4, 0), ACTIVITY: (3, 0),
    }  # fmt: skip
    assert found[EVENT]["ids"] == {"orphans": [user.pk]}
    assert reconcile(capsys) == found


def test_fix_does_what_the_policy_says_and_leaves_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    user, other = person("ada"), person("bob")
    leave_traces(user)
    leave_traces(other)
    vanish(user)
    found = reconcile(capsys, "--fix", "--batch-size", 1, status=0)
    assert {name: row["mended"] for name, row in found.items()} == {
        PROFILE: 1, POST: 0, COMMENT: 0, EVENT: 4, ACTIVITY: 3,
    }  # fmt: skip
    assert set(Post.objects.values_list("author_id", flat=True)) == {user.pk, other.pk}
    assert UserProfile.objects.get().user_id == other.pk
    assert set(AnalyticsEvent.objects.values_list("user_id", flat=True)) == {None, other.pk}
    assert set(UserActivity.objects.values_list("user_id", flat=True)) == {other.pk}
    assert reconcile(capsys, status=0)[POST]["kept"] == 1


def test_only_the_relations_that_are_named_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(reconcile(capsys, "--relation", COMMENT, "--relation", POST)) == [POST, COMMENT]
    with pytest.raises(CommandError, match=r"'blog.Post' is no relation .* There are: blog.UserProfile.user, blog"):
        call_command("reconcile", "--relation", "blog.Post")


def test_batches_are_asked_for_one_after_the_other_in_one_query_a_side(
    django_assert_num_queries: Callable[..., Any],
) -> None:
    PostFactory.create_batch(2, author_id=UserFactory.create().pk)
    for user in UserFactory.create_batch(4):
        PostFactory.create(author_id=user.pk)
    relation = next(each for each in relations() if str(each) == POST)
    work = Reconciliation(relation, batch_size=2)
    # The fourth finds that there is nothing left.
    with django_assert_num_queries(4, using="default"), django_assert_num_queries(3, using="users_db"):
        assert list(work.run()) == [2, 2, 1]
    assert work.found.checked == 5


# Copies


def test_missing_copy_is_found_and_comes_with_the_relay(capsys: pytest.CaptureFixture[str]) -> None:
    user = person()
    UserProfile.objects.all().delete()
    assert reconcile(capsys)[PROFILE]["ids"] == {"missing": [user.pk]}
    assert reconcile(capsys, "--fix", status=0)[PROFILE]["mended"] == 1
    assert not UserProfile.objects.exists()
    assert reconcile(capsys, status=0)[PROFILE]["on_the_way"] == 1
    Relay().drain()
    assert UserProfile.objects.get().username == "ada"
    assert reconcile(capsys, status=0)[PROFILE]["on_the_way"] == 0


def test_copy_that_differs_is_named_by_its_fields_and_mended(capsys: pytest.CaptureFixture[str]) -> None:
    person("ada")
    person("bob")
    sql("default", "UPDATE user_profile SET bio = 'secret', display_name = 'x' WHERE username = 'ada'")
    sql("users_db", "UPDATE users_user SET bio = 'newer' WHERE username = 'bob'")
    found = reconcile(capsys)[PROFILE]
    assert (found["differing"], found["fields"]) == (2, {"bio": 2, "display_name": 1})
    assert "secret" not in json.dumps(found)
    assert "newer" not in json.dumps(found)
    reconcile(capsys, "--fix", status=0)
    Relay().drain()
    assert dict(UserProfile.objects.values_list("display_name", "bio")) == {"ada": "", "bob": "newer"}
    reconcile(capsys, status=0)


def test_copy_without_an_original_is_an_orphan(capsys: pytest.CaptureFixture[str]) -> None:
    person()
    stranger = UserProfileFactory.create(user_id=404)
    assert reconcile(capsys)[PROFILE]["ids"] == {"orphans": [404]}
    reconcile(capsys, "--fix", status=0)
    assert not UserProfile.objects.filter(pk=stranger.pk).exists()


def test_copies_are_sent_again_a_batch_in_a_transaction(capsys: pytest.CaptureFixture[str]) -> None:
    UserFactory.create_batch(5)
    reconcile(capsys, "--fix", "--batch-size", 2, status=0)
    assert Message.objects.using("users_db").count() == 5
    Relay().drain()
    assert UserProfile.objects.count() == 5


def test_people_are_announced_again_though_they_are_gone() -> None:
    UserProfileFactory.create(user_id=404)
    announce_again([404])
    Relay().drain()
    assert not UserProfile.objects.exists()


# What is in motion


def test_what_waits_in_an_outbox_is_on_its_way_and_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    user, other = person("ada"), person("bob")
    leave_traces(user)
    UserProfile.objects.filter(user_id=other.pk).update(bio="x")
    services.delete_user(user=user)
    announce_again([other.pk])
    found = reconcile(capsys, "--fix", status=0)
    assert {name: row["on_the_way"] for name, row in found.items()} == {
        PROFILE: 2, POST: 0, COMMENT: 0, EVENT: 4, ACTIVITY: 3,
    }  # fmt: skip
    assert not any(row["mended"] for row in found.values())
    Relay().drain()
    assert not any(row["on_the_way"] for row in reconcile(capsys, status=0).values())


def test_what_waits_behind_a_dead_letter_is_left_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    user = person()
    UserProfile.objects.update(bio="x")
    announce_again([user.pk])
    Message.objects.using("users_db").filter(done_at=None).update(dead_at=timezone.now())
    announce_again([user.pk])
    with pytest.raises(CommandError, match=r"1 rows wait behind dead letters. See manage.py outbox status"):
        call_command("reconcile", "--fix", "--relation", PROFILE)
    assert Message.objects.using("users_db").filter(done_at=None).count() == 2


def test_messages_of_other_handlers_say_nothing_about_a_copy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = person()
    UserProfile.objects.all().delete()
    announce_again([user.pk])
    monkeypatch.setitem(registry.handlers, "other", Handler("other", (), print, UserProfile))
    Message.objects.using("users_db").update(handler="other")
    assert reconcile(capsys)[PROFILE]["missing"] == 1


@contextmanager
def just_before(alias: str, number: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something before the nth query of an alias, as somebody else might."""
    left = [number]

    def execute(send: Callable[..., Any], *args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            act()
        return send(*args)

    with connections[alias].execute_wrapper(execute):
        yield


def look(name: str) -> dict[str, int]:
    """What is found of a relation when it is to be mended."""
    (relation,) = [each for each in relations() if str(each) == name]
    work = Reconciliation(relation, fix=True)
    list(work.run())
    return +work.found.counts


def deleted_and_delivered(user: User) -> None:
    services.delete_user(user=user)
    Relay().drain()


def test_row_whose_deletion_arrives_while_one_looks_is_no_orphan() -> None:
    user, _ = person("ada"), person("bob")
    leave_traces(user)
    # The children were read: now the parent goes, and the message has come before messages are asked for.
    with just_before("users_db", 1, lambda: deleted_and_delivered(user)):
        assert look(ACTIVITY) == {}


def test_row_whose_parent_comes_back_while_one_looks_is_not_mended() -> None:
    user, _ = person("ada"), person("bob")
    leave_traces(user)
    vanish(user)
    # Parents, messages, whether there are any parents, and the parents again.
    with just_before("users_db", 4, lambda: User.objects.bulk_create([user])):
        assert look(ACTIVITY) == {"orphans": 3}
    assert UserActivity.objects.count() == 3


def test_child_that_is_written_with_its_parent_while_one_looks_is_no_orphan() -> None:
    person("ada")
    with just_before("users_db", 1, lambda: leave_traces(person("bob"))):
        assert look(ACTIVITY) == {}


def test_orphan_that_arrives_while_one_mends_makes_up_for_nothing_that_is_left() -> None:
    user, _ = person("ada"), person("bob")
    leave_traces(user)
    vanish(user)
    (relation,) = [each for each in relations() if str(each) == ACTIVITY]
    work = Reconciliation(relation, fix=True)
    # Parents, messages, and now whether there are any parents; the orphans were counted before.
    with just_before("users_db", 3, lambda: UserActivity.objects.create(user_id=user.pk, page_viewed="/")):
        list(work.run())
    assert (work.found.counts["orphans"], work.found.mended, work.found.left) == (3, 4, 0)
    work.found.note("stuck", user.pk)
    assert work.found.left == 1


def change(user: User) -> None:
    services.update_profile(user=user, first_name="A", last_name="", bio="new", email=user.email)


def changed_and_delivered(user: User) -> None:
    change(user)
    Relay().drain()


def test_copy_that_has_become_newer_than_the_original_that_was_read_is_not_broken() -> None:
    user = person()
    # The batch of ids, that there is no other, and now the copies; the original was read before them.
    with just_before("default", 3, lambda: changed_and_delivered(user)):
        assert look(PROFILE) == {"on the way": 1}
    assert UserProfile.objects.get().bio == "new"


def test_copy_whose_message_arrives_while_one_looks_is_not_broken() -> None:
    change(person())
    # Parents, ids, originals, and now the messages; the copy was read before them.
    with just_before("users_db", 4, Relay().drain):
        assert look(PROFILE) == {}


# What is refused


def test_empty_table_of_parents_is_no_reason_to_delete_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    user = person()
    leave_traces(user)
    vanish(user)
    with pytest.raises(CommandError, match=f"Not done: {PROFILE}, {EVENT}, {ACTIVITY}, for the reason above"):
        call_command("reconcile", "--fix")
    assert "Nothing of blog.UserProfile.user was mended: users_user on users_db has no rows at all." in (
        capsys.readouterr().err
    )
    assert UserActivity.objects.count() == 3
    assert UserProfile.objects.exists()


def test_database_that_does_not_answer_is_named_and_the_others_are_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave_traces(person())
    sql("analytics_db", "ALTER TABLE user_activity RENAME TO elsewhere")
    with pytest.raises(CommandError, match=f"Not done: {ACTIVITY}, for the reason above. The other relations are."):
        call_command("reconcile")
    said = capsys.readouterr()
    assert said.err.startswith(f"{ACTIVITY} (analytics_db): ")
    assert f"{POST}  1 ids  0 orphans" in said.out


def test_lines_say_what_is_found_and_what_would_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    user = person()
    leave_traces(user)
    UserProfile.objects.update(bio="x")
    UserActivity.objects.create(user_id=404, page_viewed="/")
    with pytest.raises(CommandError, match=r"2 rows are broken. Mend them with --fix."):
        call_command("reconcile")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{PROFILE}  2 ids  0 orphans  0 missing  1 differing  0 stuck  0 on the way  0 kept  "
        "orphans are deleted, copies are sent again (differing: bio)"
    )
    assert lines[4].startswith(f"{ACTIVITY}  2 ids  1 orphans  0 missing")
    assert [line.split("  ")[-1] for line in lines[1:]] == [
        "orphans stay", "orphans stay", "orphans are set to NULL", "orphans are deleted"
    ]  # fmt: skip


def test_database_of_somebody_else_keeps_its_orphans() -> None:
    (relation,) = [each for each in relations() if str(each) == ACTIVITY]
    assert reconciling.Relation(relation.field, "legacy_db").policy == KEEP


# After a restore


def replay(capsys: pytest.CaptureFixture[str], moment: str, *args: str) -> list[str]:
    call_command("reconcile", "--database", "default", "--replay-since", moment, *args)
    return capsys.readouterr().out.splitlines()


def minutes_ago(minutes: float) -> str:
    return (timezone.now() - timedelta(minutes=minutes)).isoformat()


def test_what_a_restored_database_lost_is_delivered_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    person()
    UserProfile.objects.all().delete()
    sql("default", "DELETE FROM outbox_receipt")
    assert replay(capsys, minutes_ago(10)) == [
        "default to default: 0 messages would be delivered again",
        "users_db to default: 1 messages would be delivered again",
        "analytics_db to default: 0 messages would be delivered again",
        "cache_db to default: 0 messages would be delivered again",
        "Nothing was changed: --fix",
    ]
    assert reconcile(capsys)[PROFILE]["missing"] == 1
    assert replay(capsys, minutes_ago(10), "--fix")[1] == "users_db to default: 1 messages are delivered again"
    assert reconcile(capsys, status=0)[PROFILE]["on_the_way"] == 1
    Relay().drain()
    assert reconcile(capsys, status=0)[PROFILE]["checked"] == 2


@override_settings(OUTBOX_RETENTION_DAYS=3)
def test_moment_from_which_messages_are_no_longer_kept_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match=r"messages are kept for 3 days \(OUTBOX_RETENTION_DAYS\).* Replay from 2"):
        replay(capsys, minutes_ago(60 * 24 * 3 + 1))


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        ("2026-11-20T03:00", "does not say in which time zone. Add Z for UTC"),
        ("yesterday", "'yesterday' is no date and time. Write it as 2026-11-20T03:00Z."),
        ("2026-02-30T03:00Z", "is no date and time"),
        ("2926-11-20T03:00Z", "is yet to come"),
    ],
)
def test_moment_that_is_none_is_refused_with_the_remedy(
    capsys: pytest.CaptureFixture[str], moment: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        replay(capsys, moment)


@pytest.mark.parametrize("args", [["--database", "default"], ["--replay-since", "2026-11-20T03:00Z"]], ids="".join)
def test_moment_and_database_go_together(args: list[str]) -> None:
    with pytest.raises(CommandError, match="--replay-since and --database go together"):
        call_command("reconcile", *args)


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_size_of_a_batch_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(CommandError, match="is no number from 1 on"):
        call_command("reconcile", f"--batch-size={size}")
