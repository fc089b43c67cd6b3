"""A streaming standby behind the replica aliases."""

import json

from tests.project.conftest import Site
from tests.servers.conftest import python
from tests.servers.processes import PASSWORD, Postgres

Rows = dict[str, dict[str, object]]


def status(site: Site, *, exit_status: int = 0) -> tuple[Rows, str]:
    """What `dbstatus --json` says of each alias and in all."""
    said = site.manage("dbstatus", "--json", status=exit_status)
    rows, _ = json.JSONDecoder().raw_decode(said)
    return {row["alias"]: row for row in rows}, said


def test_write_to_a_replica_is_refused_by_the_server(migrated_site: Site) -> None:
    code = """
from django.contrib.auth.models import Group
from django.db import Error
from apps.blog.models import Tag
answer = []
for model, replica in ((Tag, "read_replica_1"), (Group, "users_replica_1")):
    try:
        model.objects.using(replica).create(name="x")
    except Error as error:
        answer.append(str(error).strip())
"""
    assert python(migrated_site, code) == ["cannot execute INSERT in a read-only transaction"] * 2


def test_default_routing_reads_the_primary_while_the_replica_lags(postgres: Postgres, servers_site: Site) -> None:
    standby = postgres.standbys[0]
    code = """
from django.db import connections
from django.test.utils import CaptureQueriesContext
from apps.blog.models import Tag
Tag.objects.create(name="Lag", slug="lag")
with CaptureQueriesContext(connections["read_replica_1"]) as replica:
    routed = Tag.objects.filter(slug="lag").exists()
asked = len(replica)
lags = not Tag.objects.using("read_replica_1").filter(slug="lag").exists()
Tag.objects.filter(slug="lag").delete()
answer = [routed, asked, lags]
"""
    postgres.catch_up()
    postgres.query("postgres", "SELECT pg_wal_replay_pause()", admin=True, on=standby)
    try:
        assert python(servers_site, code) == [True, 0, True]
    finally:
        postgres.query("postgres", "SELECT pg_wal_replay_resume()", admin=True, on=standby)


def test_what_was_written_to_the_primary_arrives_at_the_replica(postgres: Postgres, servers_site: Site) -> None:
    postgres.catch_up()
    code = """
from apps.blog.models import Post
answer = [list(Post.objects.using(alias).order_by("pk").values_list("slug")) for alias in (None, "read_replica_1")]
"""
    primary, replica = python(servers_site, code)
    assert len(primary) == 20
    assert replica == primary


def test_dbstatus_sees_every_server_up_and_which_is_the_replica(servers_site: Site) -> None:
    found, _ = status(servers_site)
    assert {row["state"] for row in found.values()} == {"up"}
    assert {alias for alias, row in found.items() if row["role"] == "replica"} == {"read_replica_1", "users_replica_1"}
    assert all(row["role"] == row["declared_role"] for row in found.values())
    assert {alias: row["engine"] for alias, row in found.items()} == {
        "default": "PostgreSQL",
        "read_replica_1": "PostgreSQL",
        "users_db": "PostgreSQL",
        "users_replica_1": "PostgreSQL",
        "analytics_db": "PostgreSQL",
        "legacy_db": found["legacy_db"]["engine"],
        "cache_db": "SQLite",
    }
    assert found["legacy_db"]["engine"] in ("MariaDB", "MySQL")
    assert [row["error"] for row in found.values()] == [""] * 7


def test_primary_declared_as_a_replica_is_called_misplaced(servers_site: Site) -> None:
    swapped = {"READ_REPLICA_URLS": servers_site.env["DATABASE_URL"]}
    found, _ = status(Site(servers_site.var, env=servers_site.env | swapped))
    row = found["read_replica_1"]
    assert (row["declared_role"], row["role"]) == ("replica", "primary")


def test_replica_that_hangs_is_down_and_dbstatus_does_not_hang_with_it(postgres: Postgres, servers_site: Site) -> None:
    postgres.standbys[0].stop()
    try:
        found, said = status(servers_site, exit_status=1)
    finally:
        postgres.standbys[0].resume()
    assert {alias for alias, row in found.items() if row["state"] == "down"} == {"read_replica_1", "users_replica_1"}
    assert str(found["read_replica_1"]["error"]).startswith("no answer since")
    assert "Down: read_replica_1, users_replica_1." in said
    assert PASSWORD not in said
    found, _ = status(servers_site)
    assert {row["state"] for row in found.values()} == {"up"}
