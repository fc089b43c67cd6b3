"""The relay with the accounts that compose gives it."""

from tests.project.conftest import Site
from tests.servers.conftest import python
from tests.servers.processes import PostgresWithRoles

SIGN_UP = """
from apps.users.services import create_user_with_profile
answer = create_user_with_profile(username="relayed", email="relayed@example.com", password="x").pk
"""
LEAVE = """
from apps.users.models import User
from apps.users.services import delete_user
answer = delete_user(user=User.objects.get(username="relayed"))
"""


def events(roles: PostgresWithRoles, user_id: str) -> int:
    sql = f"SELECT count(*) FROM analytics_analyticsevent WHERE user_id {user_id}"
    return int(roles.query("analytics", sql, admin=True)[0][0])


def test_relay_may_record_in_analytics_and_erase_there(migrated_roles: Site, roles: PostgresWithRoles) -> None:
    maintenance = {"ANALYTICS_DATABASE_URL": roles.primary.url("analytics", "analytics_maintenance")}
    relay = Site(migrated_roles.var, env=migrated_roles.env | maintenance)
    user_id = python(migrated_roles, SIGN_UP)
    relay.manage("relay_outbox", "--once")
    assert events(roles, f"= {user_id}") == 1
    nobodys = events(roles, "IS NULL")
    python(migrated_roles, LEAVE)
    relay.manage("relay_outbox", "--once")
    assert (events(roles, f"= {user_id}"), events(roles, "IS NULL")) == (0, nobodys + 1)


def test_account_of_the_site_may_count_what_waits_everywhere(migrated_roles: Site) -> None:
    code = "from apps.outbox.selectors import backlog; answer = {a: each.dead for a, each in backlog().items()}"
    assert python(migrated_roles, code) == dict.fromkeys(("default", "users_db", "analytics_db", "cache_db"), 0)
