"""The old system on real MySQL or MariaDB: locks, rows, and that it stays as it is."""

from pathlib import Path

import pytest

from routers.locks import LockTimeout, migration_lock
from tests.project.conftest import Site
from tests.servers.conftest import Connect, python
from tests.servers.processes import PASSWORD, MySQL


@pytest.fixture
def mysql_site(tmp_path: Path, mysql: MySQL) -> Site:
    """Everything on SQLite but the old system."""
    return Site(tmp_path / "var", env={"LEGACY_DATABASE_URL": mysql.url()})


def test_lock_is_held_against_others_until_released_even_by_a_failure(mysql: MySQL, connect: Connect) -> None:
    first, second = connect(mysql.url()), connect(mysql.url())
    with (
        migration_lock(first, timeout=0),
        pytest.raises(LockTimeout, match="Another migration run has held the lock on default for 0 s"),
        migration_lock(second, timeout=0.1, poll=0.01),
    ):
        pass
    with pytest.raises(ZeroDivisionError), migration_lock(first, timeout=0):
        raise ZeroDivisionError
    with migration_lock(second, timeout=0):
        pass


def test_models_read_every_row_of_the_old_system(mysql_site: Site) -> None:
    code = """
from apps.legacy.models import LegacyCustomer, LegacyOrder, LegacyOrderLine
answer = [model.objects.count() for model in (LegacyCustomer, LegacyOrder, LegacyOrderLine)]
"""
    assert python(mysql_site, code) == [320, 903, 2326]


def test_figures_order_and_text_are_those_of_sqlite(mysql_site: Site, tmp_path: Path) -> None:
    code = """
from apps.legacy.export import csv_chunks
from apps.legacy.models import LegacyCustomer
from apps.legacy.selectors import SORTS, customers_matching, sorted_customers
customers = LegacyCustomer.objects.all()
answer = {"csv": "".join(csv_chunks(customers)), "search": customers_matching(text="tanabe").count()}
for sort in ("number", "-number", "created", "-created", "orders", "-orders", "total", "-total"):
    answer[sort] = list(sorted_customers(customers, sort).values_list("customer_id", flat=True))
"""
    load = "from django.core.management import call_command; call_command('load_legacy', verbosity=0)"
    sqlite_site = Site(tmp_path / "sqlite")
    assert python(mysql_site, code) == python(sqlite_site, load + code)


def test_unions_and_columns_with_the_names_of_verbs_are_read(mysql_site: Site) -> None:
    code = """
from django.db import connections
from apps.legacy.models import LegacyCustomer
customers = LegacyCustomer.objects.order_by().values_list("city")
union = list(customers.union(customers, all=True).order_by())
with connections["legacy_db"].cursor() as cursor:
    cursor.execute("/* told first */ SELECT `t`.`update` FROM (SELECT 7 AS `update`) `t`")
    answer = [len(union), cursor.fetchone()[0]]
"""
    assert python(mysql_site, code) == [640, 7]


def test_every_write_is_refused_before_it_reaches_the_server(mysql_site: Site) -> None:
    code = """
from django.db import connections
from apps.legacy.models import LegacyCustomer, LegacyOrderLine
from routers.central import ReadOnlyDatabase
customer = LegacyCustomer.objects.first()
writes = (
    customer.save,
    customer.delete,
    lambda: LegacyCustomer.objects.create(customer_id=1),
    lambda: LegacyCustomer.objects.using("legacy_db").update(city="X"),
    lambda: LegacyOrderLine.objects.using("legacy_db").all().delete(),
    lambda: connections["legacy_db"].cursor().execute("DELETE FROM ord_line"),
    lambda: connections["legacy_db"].cursor().callproc("archive"),
)
answer = 0
for write in writes:
    try:
        write()
    except ReadOnlyDatabase as error:
        answer += "legacy_db" in str(error)
answer = [answer, len(writes), LegacyCustomer.objects.count(), LegacyOrderLine.objects.count()]
"""
    assert python(mysql_site, code) == [7, 7, 320, 2326]


def test_load_legacy_names_the_servers_own_client_and_no_password(mysql: MySQL, mysql_site: Site) -> None:
    said = mysql_site.manage("load_legacy", status=1)
    assert f"mysql --default-character-set=utf8mb4 --host=127.0.0.1 --port={mysql.server.port} --user=app" in said
    assert PASSWORD not in said
