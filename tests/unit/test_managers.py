import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, models
from django.db.migrations.state import ModelState
from django.db.models.functions import Concat
from django.test.utils import isolate_apps
from django.utils.connection import ConnectionDoesNotExist

from routers.managers import MultiDatabaseManager

SCHEMA = (
    "CREATE TABLE note (id integer PRIMARY KEY AUTOINCREMENT, title varchar(20) NOT NULL UNIQUE)",
    "CREATE TABLE remark (id integer PRIMARY KEY AUTOINCREMENT, note_id integer NOT NULL, text varchar(20) NOT NULL)",
)
pytestmark = pytest.mark.django_db(databases=["default", "cache_db"])


class LoudManager(MultiDatabaseManager[Any]):
    """Only what is loud."""

    use_in_migrations = True

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(title__contains="!")


@pytest.fixture
def note() -> Iterator[Any]:
    """A model of the blog, so routed to default, whose table is also on cache_db."""
    with isolate_apps("apps.blog"):

        class Note(models.Model):
            title = models.CharField(max_length=20, unique=True)
            objects = models.Manager()
            cached: MultiDatabaseManager[Any] = MultiDatabaseManager("cache_db")
            loud = LoudManager("cache_db")

            class Meta:
                app_label = "blog"
                db_table = "note"

        class Remark(models.Model):
            note = models.ForeignKey(Note, models.CASCADE, related_name="remarks")
            text = models.CharField(max_length=20)
            objects = models.Manager()
            replica: MultiDatabaseManager[Any] = MultiDatabaseManager("read_replica_1")

            class Meta:
                app_label = "blog"
                db_table = "remark"

        yield Note


@pytest.fixture
def tables() -> None:
    for alias in ("default", "cache_db"):
        with connections[alias].cursor() as cursor:
            for statement in SCHEMA:
                cursor.execute(statement)


@pytest.mark.usefixtures("tables")
def test_every_way_in_works_on_the_alias_and_not_where_the_router_sends(note: Any) -> None:
    note.cached.create(title="one")
    note.cached.bulk_create([note(title="two"), note(title="three")])
    note.cached.get_or_create(title="four")
    note.cached.update_or_create(title="four", defaults={"title": "five"})
    assert note.cached.update(title=Concat("title", models.Value("!"))) == 4
    assert {row.title for row in note.cached.all()} == {"one!", "two!", "three!", "five!"}
    assert note.cached.filter(title="one!").count() == note.cached.exclude(title="one!").count() - 2 == 1
    assert note.cached.get(title="one!")._state.db == "cache_db"
    assert not note.objects.exists()


@pytest.mark.usefixtures("tables")
def test_raw_query_and_aggregate_work_on_the_alias(note: Any) -> None:
    note.cached.create(title="one")
    assert [row.title for row in note.cached.raw("SELECT * FROM note")] == ["one"]
    assert note.cached.aggregate(n=models.Count("id")) == {"n": 1}


@pytest.mark.usefixtures("tables")
def test_using_and_db_manager_move_elsewhere(note: Any) -> None:
    note.cached.create(title="here")
    note.cached.using("default").create(title="there")
    note.cached.db_manager("default").create(title="there too")
    assert note.objects.count() == 2
    assert note.cached.count() == 1
    assert note.cached.db_manager().count() == 1


@pytest.mark.usefixtures("tables")
def test_custom_get_queryset_keeps_the_alias(note: Any) -> None:
    note.loud.bulk_create([note(title="quiet"), note(title="loud!")])
    assert [row.title for row in note.loud.all()] == ["loud!"]
    assert note.loud.db == note.loud.all().db == "cache_db"
    assert not note.objects.exists()


@pytest.mark.usefixtures("tables", "replicas_share_primary")
def test_related_manager_reads_on_the_alias_and_adds_where_the_router_says(note: Any) -> None:
    row = note.objects.create(title="one")
    row.remarks(manager="replica").create(text="first")
    rows = row.remarks(manager="replica").all()
    assert [remark.text for remark in rows] == ["first"]
    assert rows.db == rows[0]._state.db == "read_replica_1"
    assert row.remarks.get()._state.db == "default"


@pytest.mark.usefixtures("tables")
def test_alias_that_does_not_exist_is_named_at_first_use(note: Any) -> None:
    lost: MultiDatabaseManager[Any] = MultiDatabaseManager("nowhere")
    lost.model = note
    with pytest.raises(ConnectionDoesNotExist, match="nowhere"):
        lost.count()


def test_alias_is_needed() -> None:
    with pytest.raises(TypeError, match="alias"):
        MultiDatabaseManager()


def test_manager_without_the_models_table_is_a_check_error(note: Any) -> None:
    (error,) = note.cached.check()
    assert error.id == "routers.E006"
    assert error.msg == "blog.Note.cached is bound to 'cache_db', where the app 'blog' has no tables."
    assert "default or read_replica_1" in error.hint


def test_manager_of_a_replica_passes_its_check(note: Any) -> None:
    replica: MultiDatabaseManager[Any] = MultiDatabaseManager("read_replica_1")
    replica.model, replica.name = note, "replica"
    assert replica.check() == []


def test_manager_survives_migrations(note: Any) -> None:
    state = ModelState.from_model(note)
    managers: dict[str, Any] = dict(state.managers)
    as_manager, path, _, args, kwargs = managers["loud"].deconstruct()
    assert (as_manager, path, args, kwargs) == (False, f"{__name__}.LoudManager", ("cache_db",), {})
    assert LoudManager(*args, **kwargs) == note.loud
    assert LoudManager("default") != note.loud


def test_copy_keeps_the_alias(note: Any) -> None:
    assert copy.copy(note.cached).db == copy.deepcopy(note.cached).db == "cache_db"


def test_managers_of_two_aliases_do_not_mix() -> None:
    first: MultiDatabaseManager[Any] = MultiDatabaseManager("default")
    second: MultiDatabaseManager[Any] = MultiDatabaseManager("cache_db")
    assert (first._db, second._db) == ("default", "cache_db")
    assert MultiDatabaseManager.bound_to == ""
