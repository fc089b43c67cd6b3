"""Rows that move between two databases of a real server, by accounts that may not set a sequence."""

from collections.abc import Iterator

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import python

HEAD = """
import os, signal
from django.db import connections, models
from routers.moving import move
from routers.owners import as_owner

class Note(models.Model):
    title = models.CharField(max_length=20)
    class Meta:
        app_label = "users"
        db_table = "moving note"

source, there = Note.objects.using("default"), Note.objects.using("users_db")

def on(rows):
    return [[row.pk, row.title] for row in rows.order_by("title")]
"""


@pytest.fixture
def site(migrated_roles: Site) -> Iterator[Site]:
    """Its tables are made and dropped by the owners, and used as the application's own accounts."""
    change = """
for alias in ("default", "users_db"):
    with as_owner(alias) as connection, connection.schema_editor() as editor:
        editor.{}(Note)
answer = True
"""
    python(migrated_roles, HEAD + change.format("create_model"))
    yield migrated_roles
    python(migrated_roles, HEAD + change.format("delete_model"))


@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_next_row_on_either_database_gets_a_number_that_is_free(site: Site, keys: str) -> None:
    code = f"""
source.bulk_create(Note(title=f"n{{number}}") for number in range(20))
there.create(title="stranger")
moved = move(source.filter(pk__gt=15), "users_db", keys="{keys}", batch_size=2)
numbers = [rows.create(title="next").pk for rows in (source, there)]
answer = [len(moved), numbers, source.count(), there.count()]
"""
    after = [21, 21] if keys == "keep" else [26, 26]
    assert python(site, HEAD + code) == [5, after, 16, 7]


@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_process_that_is_killed_after_the_copy_leaves_rows_in_both_and_the_same_move_ends_it(
    site: Site, keys: str
) -> None:
    code = f"""
source.bulk_create(Note(title=title) for title in "abc")

def die(execute, sql, *args):
    if sql.startswith("DELETE"):
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(sql, *args)

with connections["default"].execute_wrapper(die):
    move(source, "users_db", keys="{keys}", batch_size=2)
"""
    site.manage("shell", "--no-imports", "--command", HEAD + code, status=-9)
    code = f"""
before = [on(source), on(there)]
move(source, "users_db", keys="{keys}", batch_size=2)
answer = [*before, on(source), on(there)]
"""
    here, copied, left, moved = python(site, HEAD + code)
    assert [title for _, title in here] == ["a", "b", "c"]
    assert copied == here[:2]
    assert left == []
    assert [title for _, title in moved] == ["a", "b", "c"]
    assert moved[:2] == copied


@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_key_that_is_far_ahead_is_refused_until_the_owner_has_set_the_sequence(site: Site, keys: str) -> None:
    code = f"""
from routers.moving import CannotMove
source.bulk_create([Note(pk=1), Note(pk=2_000_000)])
refusals = []
while True:
    try:
        moved = move(source, "users_db", keys="{keys}", batch_size=1)
        break
    except CannotMove as error:
        refusals.append([str(error), source.count(), there.count()])
        alias = "users_db" if "on users_db is" in str(error) else "default"
        with as_owner(alias) as connection, connection.cursor() as cursor:
            cursor.execute(str(error).partition("run there once: ")[2])
answer = [refusals, len(moved), source.count(), there.create(title="next").pk]
"""
    highest = 2_000_000 if keys == "keep" else 2_000_002
    refusals, *rest = python(site, HEAD + code)
    assert rest == [2, 0, highest + 1]
    assert [counted for _, *counted in refusals] == [[2, 0]] * len(refusals)
    assert [message for message, *_ in refusals] == [
        f"users.Note cannot be moved from default to users_db: their keys go up to {highest}, and "
        f'public."moving note_id_seq" on {alias} is only at 0, too far behind to be drawn from number by number. '
        f"As the owner of the table, run there once: SELECT setval('public.\"moving note_id_seq\"', {highest});"
        for alias in (["users_db"] if keys == "keep" else ["default", "users_db"])
    ]
