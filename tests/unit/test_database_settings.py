"""URLs in, DATABASES out; and what a mistake in one says."""

import sqlite3
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.settings.databases import DECLARED, ENGINES, build, owners, parse_url
from config.settings.environment import text
from routers.topology import Cluster

BLOG = Cluster("blog", primary="default", apps=("blog",), url="T_DATABASE_URL", replica_urls="T_REPLICA_URLS")
LEGACY = Cluster("legacy", primary="legacy_db", apps=("legacy",), url="T_LEGACY_URL", read_only=True)
SERVER = "postgres://app:s3cr%40t@db.example.com:5433/blog"


@pytest.fixture(autouse=True)
def mysqlclient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed: only its presence is looked at here."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


def one(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    return build([cluster], tmp_path)[0]


def test_unset_url_is_a_private_sqlite_file_with_one_replica_alias(tmp_path: Path) -> None:
    databases, clusters = build([BLOG], tmp_path / "var")
    file = tmp_path / "var" / "blog.sqlite3"
    assert databases["default"]["NAME"] == f"file:{file}?mode=rw"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert clusters[0].replicas == ("t_replica_1",)


def test_replica_of_a_sqlite_file_is_the_same_file_and_refuses_writes(tmp_path: Path) -> None:
    databases = one(BLOG, tmp_path / "a folder with ? and #")
    with sqlite3.connect(databases["default"]["NAME"], uri=True) as primary:
        primary.execute("CREATE TABLE t (id)")
    primary.close()
    replica = sqlite3.connect(databases["t_replica_1"]["NAME"], uri=True)
    assert replica.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        replica.execute("INSERT INTO t VALUES (1)")
    replica.close()


def test_read_only_cluster_on_sqlite_is_opened_read_only(tmp_path: Path) -> None:
    assert one(LEGACY, tmp_path)["legacy_db"]["NAME"].endswith("legacy.sqlite3?mode=ro")


@pytest.mark.parametrize(
    ("url", "option"),
    [
        (SERVER, ("options", "-c default_transaction_read_only=on")),
        ("mysql://app:pw@host/legacy", ("init_command", "SET SESSION TRANSACTION READ ONLY")),
    ],
)
def test_session_on_a_read_only_cluster_refuses_writes_itself(
    url: str, option: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_LEGACY_URL", url)
    assert option in one(LEGACY, tmp_path)["legacy_db"]["OPTIONS"].items()


def test_options_of_the_url_do_not_make_a_read_only_cluster_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_LEGACY_URL", f"{SERVER}?options=-c%20default_transaction_read_only%3Doff")
    options = one(LEGACY, tmp_path)["legacy_db"]["OPTIONS"]["options"]
    assert options == "-c default_transaction_read_only=off -c default_transaction_read_only=on"


@pytest.mark.parametrize(
    ("name", "value"), [("DATABASE_TIMEOUT", "0"), ("DATABASE_TIMEOUT", "2147484"), ("DATABASE_POOL_SIZE", "0")]
)
def test_number_out_of_bounds_is_refused(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=f"{name} is '{value}'; it must be a whole number from 1 to"):
        one(BLOG, tmp_path)


def test_value_that_begins_with_a_dollar_is_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_KEY", "$HOME-is-no-variable")
    assert text("T_KEY") == "$HOME-is-no-variable"


def test_server_url_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    found = one(BLOG, tmp_path)
    expected = {"ENGINE": ENGINES["postgres"], "USER": "app", "PASSWORD": "s3cr@t", "PORT": 5433, "NAME": "blog"}
    assert expected.items() <= found["default"].items()
    assert list(found) == ["default"], "a server's replicas are not guessed"


def test_url_may_name_several_hosts() -> None:
    found = parse_url("X", "postgres://app:pw@one:5432,two:5433/blog?target_session_attrs=read-write")
    assert (found["HOST"], str(found["PORT"])) == ("one,two", "5432,5433")
    assert found["OPTIONS"]["target_session_attrs"] == "read-write"


def test_options_of_the_url_win_over_the_defaults() -> None:
    assert parse_url("X", SERVER)["OPTIONS"]["connect_timeout"] == 2
    assert parse_url("X", f"{SERVER}?connect_timeout=7")["OPTIONS"]["connect_timeout"] == 7


def test_replicas_are_separated_by_white_space_and_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    monkeypatch.setenv("T_REPLICA_URLS", "postgres://r:pw@one,two/blog\n postgres://r:pw@three/blog ")
    databases, clusters = build([BLOG], tmp_path)
    assert clusters[0].replicas == ("t_replica_1", "t_replica_2")
    assert databases["t_replica_1"]["HOST"] == "one,two"
    assert databases["t_replica_2"]["TEST"] == {"MIRROR": "default"}


def test_value_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text(f"{SERVER}\n")
    # A name of its own: files are read once and remembered.
    monkeypatch.setenv("T_SECRET_URL_FILE", str(tmp_path / "url"))
    assert one(replace(BLOG, url="T_SECRET_URL"), tmp_path)["default"]["HOST"] == "db.example.com"


def test_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_MISSING_FILE", "/nowhere/at/all")
    with pytest.raises(ImproperlyConfigured, match="T_MISSING_FILE names a file that cannot be read"):
        text("T_MISSING")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgre://app:s3cr3t@host/blog", "does not begin with a known scheme"),
        ("app:s3cr3t@host/blog", "does not begin with a known scheme"),
        ("redis://app:s3cr3t@host/0", "does not begin with a known scheme"),
        ("postgres://app:s3cr3t@host:54x2/blog", "cannot be read as a URL"),
        ("postgres://app:s3cr3t@[host/blog", "cannot be read as a URL"),
        ("postgres://app:s3cr3t/x@host/blog", "cannot be read as a URL"),
        ("postgres://app:s3cr3t@host", "has no NAME"),
        ("mysql://app:s3cr3t@/legacy", "has no HOST"),
        ("postgres:///", "has no NAME and no HOST"),
        ("sqlite://relative.sqlite3", "is not the URL of a SQLite file with an absolute path"),
        ("sqlite:///:memory:", "is not the URL of a SQLite file"),
        ("sqlite:////tmp/x.sqlite3?mode=ro", "is not the URL of a SQLite file"),
    ],
)
def test_mistyped_url_names_the_variable_and_the_form_but_not_the_password(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured) as caught:
        one(BLOG, tmp_path)
    message = str(caught.value)
    assert message.startswith("T_DATABASE_URL ")
    assert says in message
    assert "postgres://USER:PASSWORD@HOST:5432/NAME" in message
    assert "s3cr3t" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_replica_of_another_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    monkeypatch.setenv("T_REPLICA_URLS", "mysql://r:s3cr3t@host/blog")
    with pytest.raises(ImproperlyConfigured, match="T_REPLICA_URLS names a database of another engine than T_DATABASE"):
        one(BLOG, tmp_path)


def test_server_replica_of_a_sqlite_primary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_REPLICA_URLS", SERVER)
    with pytest.raises(ImproperlyConfigured, match="another engine"):
        one(BLOG, tmp_path)


def test_vanished_sqlite_file_is_not_made_anew(tmp_path: Path) -> None:
    name = one(BLOG, tmp_path)["default"]["NAME"]
    (tmp_path / "blog.sqlite3").unlink()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite3.connect(name, uri=True).execute("SELECT 1 FROM sqlite_master")
    assert not (tmp_path / "blog.sqlite3").exists()


def test_mysql_url_without_its_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match="X names a MySQL server, for which mysqlclient is not installed"):
        parse_url("X", "mysql://app:pw@host/legacy")


def test_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImproperlyConfigured, match="Set T_DATABASE_URL to a database that can, or VAR_DIR to a folder"):
        one(BLOG, tmp_path / "file" / "var")


def test_server_of_visitors_has_a_pool_and_a_limit_to_what_a_statement_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    monkeypatch.setenv("DATABASE_TIMEOUT", "7")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "3")
    config = one(BLOG, tmp_path)["default"]
    assert config["TIMEOUT"] == 7
    assert config["OPTIONS"]["pool"] == {"min_size": 0, "max_size": 3, "timeout": 0.5, "reconnect_timeout": 1}
    assert "CONN_MAX_AGE" not in config, "Django refuses both"


def test_mysql_of_visitors_is_persistent_with_health_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_LEGACY_URL", "mysql://app:pw@host/legacy")
    config = one(LEGACY, tmp_path)["legacy_db"]
    assert (config["TIMEOUT"], config["CONN_MAX_AGE"], config["CONN_HEALTH_CHECKS"]) == (3, 60, True)
    assert "pool" not in config["OPTIONS"]


def test_owner_has_an_account_of_its_own_and_no_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    monkeypatch.setenv("T_DATABASE_OWNER_URL", SERVER.replace("app:s3cr%40t", "owner:other"))
    found = owners([BLOG], one(BLOG, tmp_path))["default"]
    assert (found["USER"], found["PASSWORD"]) == ("owner", "other")
    assert "TIMEOUT" not in found
    assert "pool" not in found["OPTIONS"]


def test_without_an_owner_url_the_application_owns_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    assert owners([BLOG], one(BLOG, tmp_path))["default"]["USER"] == "app"


def test_sqlite_file_and_read_only_cluster_have_no_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_LEGACY_URL", "mysql://app:pw@host/legacy")
    assert owners([BLOG, LEGACY], build([BLOG, LEGACY], tmp_path)[0]) == {}


def test_owner_of_no_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_OWNER_URL", SERVER)
    with pytest.raises(ImproperlyConfigured, match="T_DATABASE_OWNER_URL is set, but T_DATABASE_URL names no server"):
        owners([BLOG], one(BLOG, tmp_path))


def test_owner_of_another_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_DATABASE_URL", SERVER)
    monkeypatch.setenv("T_DATABASE_OWNER_URL", "postgres://owner:s3cr3t@db.example.com/users")
    with pytest.raises(
        ImproperlyConfigured, match="OWNER_URL leads to the postgresql database 'users', but T_DATABASE_URL"
    ):
        owners([BLOG], one(BLOG, tmp_path))


def test_mysql_with_a_ca_verifies_the_server_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    options = parse_url("X", f"mysql://app:pw@host/legacy?ssl_ca={tmp_path}/ca.pem")["OPTIONS"]
    assert (options["ssl"], options["ssl_mode"]) == ({"ca": f"{tmp_path}/ca.pem"}, "VERIFY_IDENTITY")
    assert "ssl_ca" not in options


@pytest.mark.parametrize(
    "query",
    [
        "ssl_mode=REQUIRED",
        "ssl_mode=REQUIRED&ssl_ca=/ca.pem",
        "ssl_cert=/cert.pem",
        "ssl=true",
        "ssl-ca=/ca.pem",
        "ssl_ca=/ca.pem&ssl_cipher=x",
    ],
)
def test_mysql_with_tls_that_verifies_nothing_is_refused(query: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"X asks for TLS by ssl.*, and so not for a server that proves"):
        parse_url("X", f"mysql://app:pw@host/legacy?{query}")


def test_ca_that_is_no_file_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="X says ssl_ca=/nowhere, which is not a file"):
        parse_url("X", "mysql://app:pw@host/legacy?ssl_ca=/nowhere")


def test_without_a_cluster_on_it_default_is_empty(tmp_path: Path) -> None:
    assert one(LEGACY, tmp_path)["default"] == {}


def test_topology_is_the_documented_one() -> None:
    assert {cluster.name: cluster.primary for cluster in DECLARED} == {
        "blog": "default",
        "users": "users_db",
        "analytics": "analytics_db",
        "legacy": "legacy_db",
        "cache": "cache_db",
    }
