"""Rows that move from one database to another: nothing is lost, doubled or overwritten, whatever comes between."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, models, transaction
from django.test.utils import isolate_apps

from routers.moving import CannotMove, RowExists, RowsReferenced, move
from routers.topology import AmbiguousDatabase, Cluster

ALIASES = ("users_db", "cache_db")
LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)
pytestmark = [
    pytest.mark.django_db(databases=ALIASES, transaction=True),
    pytest.mark.sqlite(*ALIASES),
]


@pytest.fixture
def shop(settings: Any) -> Iterator[Any]:
    """Models of an app that is shared by two clusters; Remark and Chapter have their tables on the first only."""
    settings.CLUSTERS = (Cluster("a", primary="users_db", apps=()), Cluster("b", primary="cache_db", apps=()))
    settings.SHARED_APPS = {"users": ["a", "b"]}
    with isolate_apps("apps.users"):

        class Note(models.Model):
            title = models.CharField(max_length=20)
            made = models.DateTimeField(auto_now_add=True)

            class Meta:
                app_label = "users"
                db_table = "moving_note"

        class Remark(models.Model):
            note = models.ForeignKey(Note, models.CASCADE)

            class Meta:
                app_label = "users"
                db_table = "moving_remark"

        class Code(models.Model):
            code = models.CharField(max_length=20, primary_key=True)

            class Meta:
                app_label = "users"
                db_table = "moving_code"

        class Chapter(Note):
            class Meta:
                app_label = "users"
                db_table = "moving_chapter"

        made: list[tuple[str, type[models.Model]]] = [(alias, model) for alias in ALIASES for model in (Note, Code)]
        made += [("users_db", Remark), ("users_db", Chapter)]
        for alias, model in made:
            with connections[alias].schema_editor() as editor:
                editor.create_model(model)
        yield SimpleNamespace(Note=Note, Remark=Remark, Code=Code, Chapter=Chapter)
        for alias, model in reversed(made):
            with connections[alias].schema_editor() as editor:
                editor.delete_model(model)


@pytest.fixture
def note(shop: Any) -> Any:
    return shop.Note


def add(note: Any, alias: str = "users_db", **fields: Any) -> Any:
    row = note.objects.using(alias).create(**fields)
    note.objects.using(alias).filter(pk=row.pk).update(made=LONG_AGO)
    return row


def on(note: Any, alias: str) -> dict[int, str]:
    return dict(note.objects.using(alias).order_by("pk").values_list("pk", "title"))


@contextmanager
def crash(alias: str, statement: str, *, after: int = 0) -> Iterator[None]:
    """The connection to `alias` is lost when such a statement is to be sent, `after` others of the kind."""
    sent: list[str] = []

    def lose(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(statement):
            if len(sent) == after:
                raise KeyboardInterrupt
            sent.append(sql)
        return execute(sql, *args)

    with pytest.raises(KeyboardInterrupt), connections[alias].execute_wrapper(lose):
        yield


def test_row_is_there_with_its_key_and_not_here_any_more(note: Any) -> None:
    row = add(note, pk=7, title="one")
    assert move([row], "cache_db") == {7: 7}
    assert on(note, "cache_db") == {7: "one"}
    assert on(note, "users_db") == {}
    assert (row.pk, row._state.db) == (7, "cache_db")


def test_queryset_is_moved_in_batches_and_the_rest_stays(note: Any) -> None:
    for number in range(7):
        add(note, title=f"n{number}")
    moved = move(note.objects.using("users_db").exclude(title="n3"), "cache_db", batch_size=2)
    assert sorted(on(note, "cache_db").values()) == ["n0", "n1", "n2", "n4", "n5", "n6"]
    assert list(on(note, "users_db").values()) == ["n3"]
    assert moved == {pk: pk for pk in on(note, "cache_db")}


def test_sliced_queryset_is_moved(note: Any) -> None:
    for title in "abc":
        add(note, title=title)
    move(note.objects.using("users_db").order_by("-title")[:2], "cache_db")
    assert list(on(note, "users_db").values()) == ["a"]


def test_value_that_save_would_fill_is_kept(note: Any) -> None:
    move([add(note, title="one")], "cache_db")
    assert note.objects.using("cache_db").get().made == LONG_AGO


def test_next_row_there_gets_a_number_that_is_free(note: Any) -> None:
    move([add(note, pk=7, title="moved")], "cache_db")
    assert note.objects.using("cache_db").create(title="next").pk == 8


def test_key_that_is_no_number_is_kept(shop: Any) -> None:
    row = shop.Code.objects.using("users_db").create(code="x1")
    assert move([row], "cache_db") == {"x1": "x1"}


def test_strangers_row_is_not_overwritten_and_nothing_is_moved(note: Any) -> None:
    add(note, "cache_db", pk=2, title="stranger")
    rows = [add(note, pk=pk, title=f"n{pk}") for pk in (1, 2, 3)]
    with pytest.raises(RowExists) as caught:
        move(rows, "cache_db", batch_size=1)
    assert "users.Note 2 is another row on cache_db than on users_db" in str(caught.value)
    assert 'keys="renumber"' in str(caught.value)
    assert on(note, "cache_db") == {2: "stranger"}
    assert on(note, "users_db") == {1: "n1", 2: "n2", 3: "n3"}


def test_strangers_are_counted(note: Any) -> None:
    rows = [add(note, pk=pk, title=f"n{pk}") for pk in (1, 2, 3)]
    for pk in (1, 2, 3):
        add(note, "cache_db", pk=pk, title="stranger")
    with pytest.raises(RowExists, match=r"users.Note 1 \(and 2 others\) is another"):
        move(rows, "cache_db")


def test_stranger_that_comes_in_between_is_not_overwritten_either(note: Any) -> None:
    rows = [add(note, pk=1, title="one"), add(note, pk=2, title="two")]

    def come_in(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("DELETE"):
            add(note, "cache_db", pk=2, title="stranger")
        return execute(sql, *args)

    with pytest.raises(RowExists), connections["users_db"].execute_wrapper(come_in):
        move(rows, "cache_db", batch_size=1)
    assert on(note, "cache_db") == {1: "one", 2: "stranger"}
    assert on(note, "users_db") == {2: "two"}


@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_crash_before_the_copy_is_committed_leaves_the_rows_here(note: Any, keys: Any) -> None:
    rows = [add(note, title="one"), add(note, title="two")]
    with crash("cache_db", "SELECT"):
        move(rows, "cache_db", keys=keys)
    assert on(note, "cache_db") == {}
    assert sorted(on(note, "users_db").values()) == ["one", "two"]


@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_crash_after_it_leaves_them_in_both_and_the_same_move_ends_it(note: Any, keys: Any) -> None:
    for title in ("one", "two", "three"):
        add(note, title=title)
    rows = note.objects.using("users_db")
    with crash("users_db", "DELETE"):
        move(rows.all(), "cache_db", keys=keys, batch_size=2)
    assert sorted(on(note, "cache_db").values()) == ["one", "two"]
    assert sorted(on(note, "users_db").values()) == ["one", "three", "two"]
    moved = move(rows.all(), "cache_db", keys=keys, batch_size=2)
    assert sorted(on(note, "cache_db").values()) == ["one", "three", "two"]
    assert sorted(moved.values()) == list(on(note, "cache_db"))
    assert on(note, "users_db") == {}


def test_renumbered_rows_get_keys_that_are_free_on_both_and_the_mapping_says_which(note: Any) -> None:
    add(note, "cache_db", pk=1, title="stranger")
    add(note, pk=9, title="stays")
    rows = [add(note, pk=1, title="one"), add(note, pk=2, title="two")]
    moved = move(rows, "cache_db", keys="renumber")
    assert moved == {1: 10, 2: 11}
    assert on(note, "cache_db") == {1: "stranger", 10: "one", 11: "two"}
    assert on(note, "users_db") == {9: "stays"}
    assert [(row.pk, row._state.db) for row in rows] == [(10, "cache_db"), (11, "cache_db")]


def test_renumbering_logs_the_keys_before_anything_is_copied(note: Any, caplog: pytest.LogCaptureFixture) -> None:
    add(note, "cache_db", pk=5, title="stranger")
    row = add(note, pk=5, title="one")
    with caplog.at_level("INFO", "routers.moving"), crash("cache_db", "INSERT"):
        move([row], "cache_db", keys="renumber")
    assert "users.Note gets new keys on the way from users_db to cache_db: {5: 6}" in caplog.messages


def test_row_that_is_gone_is_left_out(note: Any) -> None:
    row, gone = add(note, title="one"), add(note, title="gone")
    note.objects.using("users_db").filter(title="gone").delete()
    assert move([row, gone], "cache_db") == {row.pk: row.pk}
    assert gone._state.db == "users_db"
    assert move([], "cache_db") == {}


@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_move_of_nothing_but_rows_that_are_gone_moves_none(note: Any, keys: Any) -> None:
    gone = add(note, title="gone")
    note.objects.using("users_db").all().delete()
    assert move([gone], "cache_db", keys=keys) == {}
    assert on(note, "cache_db") == {}


def test_same_rows_again_after_a_crash_behind_the_first_batch_end_the_move(note: Any) -> None:
    rows = [add(note, title="one"), add(note, title="two")]
    with crash("cache_db", "INSERT", after=1):
        move(rows, "cache_db", batch_size=1)
    assert move(rows, "cache_db", batch_size=1) == {rows[1].pk: rows[1].pk}
    assert list(on(note, "cache_db").values()) == ["one", "two"]
    assert on(note, "users_db") == {}


def test_crash_of_a_renumbering_is_ended_by_a_queryset_without_keys_and_not_by_the_old_ones(note: Any) -> None:
    row = add(note, title="one")
    with crash("users_db", "DELETE"):
        move([row], "cache_db", keys="renumber")
    (new,) = on(note, "users_db")
    assert move([row], "cache_db", keys="renumber") == {}
    assert move(note.objects.using("users_db").filter(title="one"), "cache_db", keys="renumber") == {new: new}
    assert on(note, "cache_db") == {new: "one"}
    assert on(note, "users_db") == {}


def test_row_that_others_refer_to_is_refused_and_they_are_named(shop: Any) -> None:
    row = add(shop.Note, title="one")
    shop.Remark.objects.using("users_db").create(note_id=row.pk)
    with pytest.raises(RowsReferenced) as caught:
        move([row], "cache_db")
    assert "1 of the rows of users.Remark on users_db refer by 'note' to rows of users.Note" in str(caught.value)
    assert on(shop.Note, "cache_db") == {}
    assert shop.Remark.objects.using("users_db").exists()


def test_unfit_is_refused_in_words(shop: Any, settings: Any) -> None:
    row = add(shop.Note, title="one")
    with pytest.raises(CannotMove, match=r"users.Note cannot be moved from users_db to users_db: they are there"):
        move([row], "users_db")
    with pytest.raises(CannotMove, match="cache_db has no table moving_remark"):
        move(shop.Remark.objects.using("users_db"), "cache_db")
    with pytest.raises(CannotMove, match="several tables"):
        move(shop.Chapter.objects.using("users_db").none(), "cache_db")
    with pytest.raises(CannotMove, match="only numbers"):
        move(shop.Code.objects.using("users_db"), "cache_db", keys="renumber")
    settings.CLUSTERS = (
        Cluster("a", primary="users_db", apps=()),
        Cluster("b", primary="cache_db", apps=(), read_only=True),
    )
    with pytest.raises(CannotMove, match="cache_db is not written to"):
        move([row], "cache_db")


def test_rows_of_two_kinds_or_of_none_are_refused(shop: Any) -> None:
    there = add(shop.Note, "cache_db", title="there")
    with pytest.raises(CannotMove, match=r"one model and one database, and these are of .*users.Note on"):
        move([add(shop.Note, title="here"), there], "cache_db")
    with pytest.raises(CannotMove, match=r"users.Note on no database yet"):
        move([shop.Note(title="new")], "cache_db")
    with pytest.raises(AmbiguousDatabase):
        move(shop.Note.objects.all(), "cache_db")


def test_rows_that_were_read_from_a_replica_are_moved_from_its_primary(note: Any, settings: Any) -> None:
    add(note, title="one")
    settings.CLUSTERS = (
        Cluster("a", primary="users_db", apps=(), replicas=("users_replica_1",)),
        Cluster("b", primary="cache_db", apps=()),
    )
    move(note.objects.using("users_replica_1"), "cache_db")
    assert list(on(note, "cache_db").values()) == ["one"]
    assert on(note, "users_db") == {}


@pytest.mark.parametrize("alias", ALIASES)
def test_open_transaction_is_refused(note: Any, alias: str) -> None:
    row = add(note, title="one")
    with transaction.atomic(using=alias), pytest.raises(RuntimeError, match="durable"):
        move([row], "cache_db")
    assert on(note, "users_db") == {row.pk: "one"}


def test_row_that_reads_differently_there_stays_here(note: Any) -> None:
    row = add(note, title="one")
    with connections["cache_db"].cursor() as cursor:
        cursor.execute("CREATE TRIGGER cut AFTER INSERT ON moving_note BEGIN UPDATE moving_note SET title = 'o'; END")
    with pytest.raises(CannotMove, match="cannot be read from cache_db as it is on users_db"):
        move([row], "cache_db")
    assert on(note, "users_db") == {row.pk: "one"}
    assert on(note, "cache_db") == {}


def test_row_that_cannot_be_deleted_stays_in_both(note: Any) -> None:
    row = add(note, title="one")
    with connections["users_db"].cursor() as cursor:
        cursor.execute("CREATE TRIGGER keep BEFORE DELETE ON moving_note BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(CannotMove, match="0 of 1 rows could be deleted from users_db"):
        move([row], "cache_db")
    assert on(note, "users_db") == on(note, "cache_db") == {row.pk: "one"}
