"""The topology, declared once: environment in, DATABASES and CLUSTERS out. The only module that spells out aliases.

To add a database: one entry in DECLARED, its URL in the environment, and the app. Without a URL a database is a SQLite
file under var/, and a cluster that may have replicas gets one: the same file, opened so that it refuses writes.
"""

import importlib.util
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from config.settings.environment import BASE_DIR, env, number, text
from routers.sqlite import file_of
from routers.topology import Cluster

CLUSTERS_FILE = "config/settings/databases.py"

# fmt: off
DECLARED = (
    Cluster("blog", primary="default", apps=("blog",), url="DATABASE_URL", replica_urls="READ_REPLICA_URLS"),  # demo
    Cluster(
        "users", primary="users_db", url="USERS_DATABASE_URL", replica_urls="USERS_REPLICA_URLS",
        # They hold foreign keys to the user or to each other, so they live together.
        apps=("users", "auth", "contenttypes", "admin", "sessions", "axes"),
    ),
    Cluster("analytics", primary="analytics_db", apps=("analytics",), url="ANALYTICS_DATABASE_URL"),  # demo
    Cluster("legacy", primary="legacy_db", apps=("legacy",), url="LEGACY_DATABASE_URL", read_only=True),  # demo
    Cluster("cache", primary="cache_db", apps=("cache", "debug_toolbar"), url="CACHE_DATABASE_URL"),
)
# fmt: on
# Apps that have their tables in several clusters: messages stand beside what they tell of, receipts beside the effect.
SHARED_APPS = {
    "outbox": (
        "blog",  # demo
        "users",
        "analytics",  # demo
        "cache",
    ),
}

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgres": "routers.backends.postgresql",
    "postgresql": "routers.backends.postgresql",
    "mysql": "routers.backends.mysql",
}
EXPECTED = (
    "Expected postgres://USER:PASSWORD@HOST:5432/NAME, mysql://USER:PASSWORD@HOST:3306/NAME "
    "or sqlite:////ABSOLUTE/PATH.sqlite3 (percent-encode what is special in a password)."
)
# Options of every connection to a server; a URL's own options win. (libpq takes a connect_timeout of 1 for 2.)
SERVER_OPTIONS: dict[str, dict[str, Any]] = {
    ENGINES["postgres"]: {"connect_timeout": 2},
    ENGINES["mysql"]: {"connect_timeout": 2, "charset": "utf8mb4"},
}
# A session that refuses writes itself, whatever way they come. (Whoever may connect may also take it back; what a role
# may not do, only its privileges say.)
READ_ONLY_OPTIONS: dict[str, dict[str, Any]] = {
    ENGINES["postgres"]: {"options": "-c default_transaction_read_only=on"},
    ENGINES["mysql"]: {"init_command": "SET SESSION TRANSACTION READ ONLY"},
}
# Seconds that a visitor waits for a connection when all of the pool's are taken.
POOL_WAIT = 0.5
# The modes of TLS in which a MySQL server has to prove who it is.
VERIFYING = ("VERIFY_IDENTITY", "VERIFY_CA")

Databases = dict[str, dict[str, Any]]


def build(declared: Iterable[Cluster], var: Path) -> tuple[Databases, tuple[Cluster, ...]]:
    """Read each cluster's URLs from the environment.

    Returns DATABASES and the clusters with their replica aliases filled in: READ_REPLICA_URLS gives read_replica_1,
    read_replica_2 and so on. Raises ImproperlyConfigured, naming the variable and never a password.
    """
    databases: Databases = {}
    clusters = []
    for cluster in declared:
        primary = _primary(cluster, var)
        replicas = _replicas(cluster, primary)
        databases |= {cluster.primary: primary, **replicas}
        clusters.append(replace(cluster, replicas=tuple(replicas)))
    # Django insists on an alias of this name; empty means that nothing lives there.
    databases.setdefault("default", {})
    return databases, tuple(clusters)


def owners(clusters: Iterable[Cluster], databases: Databases) -> Databases:
    """The connections by which servers are migrated, by alias: the account of DATABASE_OWNER_URL (for DATABASE_URL, and
    so on), else the alias's own; without a pool and without the limits that are made for visitors.

    Raises ImproperlyConfigured when the owner's URL leads to another database than the application's.
    """
    found = {}
    for cluster in clusters:
        if cluster.read_only:
            continue
        if databases[cluster.primary]["ENGINE"] != ENGINES["sqlite"]:
            found[cluster.primary] = _owner(cluster, databases[cluster.primary])
        elif text(owner_variable(cluster)):
            raise ImproperlyConfigured(
                f"{owner_variable(cluster)} is set, but {cluster.url} names no server, so nobody would use it."
            )
    return found


def owner_variable(cluster: Cluster) -> str:
    return f"{cluster.url.removesuffix('_URL')}_OWNER_URL"


def parse_url(variable: str, url: str) -> dict[str, Any]:
    """One database URL as an entry of DATABASES. Raises ImproperlyConfigured, naming the variable."""
    scheme = url.partition(":")[0]
    if "://" not in url or scheme not in ENGINES:
        raise ImproperlyConfigured(f"{variable} does not begin with a known scheme. {EXPECTED}")
    if scheme == "sqlite":
        return _sqlite(_sqlite_path(variable, url))
    if scheme == "mysql" and importlib.util.find_spec("MySQLdb") is None:
        raise ImproperlyConfigured(
            f"{variable} names a MySQL server, for which mysqlclient is not installed. On Debian and Ubuntu: "
            "apt-get install default-libmysqlclient-dev pkg-config gcc, then pip install -r requirements.txt."
        )
    config = _server(variable, url)
    config["OPTIONS"] = SERVER_OPTIONS[config["ENGINE"]] | config.get("OPTIONS", {})
    if scheme == "mysql":
        config["OPTIONS"] = _mysql_tls(variable, config["OPTIONS"])
    return config


def for_visitors(config: dict[str, Any]) -> dict[str, Any]:
    """With a limit to what a statement may take, and with connections that outlive the request."""
    limits = {"TIMEOUT": number("DATABASE_TIMEOUT", 3, least=1, most=3600)}
    if config["ENGINE"] == ENGINES["postgres"]:
        size = number("DATABASE_POOL_SIZE", number("WEB_THREADS", 8, least=1), least=1)
        # Each visitor has it try anew; by itself it would try again at intervals that grow to minutes.
        pool = {"min_size": 0, "max_size": size, "timeout": POOL_WAIT, "reconnect_timeout": 1}
        return limits | config | {"OPTIONS": config["OPTIONS"] | {"pool": pool}}
    if config["ENGINE"] == ENGINES["mysql"]:
        return limits | {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True} | config
    return config


def _primary(cluster: Cluster, var: Path) -> dict[str, Any]:
    url = text(cluster.url)
    config = for_visitors(parse_url(cluster.url, url)) if url else _sqlite(str(var / f"{cluster.name}.sqlite3"))
    if config["ENGINE"] == ENGINES["sqlite"]:
        if file := file_of(config["NAME"]):
            _create_private(cluster.url, file)
        if cluster.read_only:
            config = _read_only_sqlite(config)
    elif cluster.read_only:
        for option, value in READ_ONLY_OPTIONS[config["ENGINE"]].items():
            # Last, where the last one counts.
            config["OPTIONS"][option] = f"{config['OPTIONS'].get(option, '')} {value}".strip()
    # Not even the table that records migrations may be made in somebody else's schema, nor in a test's copy of it.
    return config | ({"TEST": {"MIGRATE": False}} if cluster.read_only else {})


def _replicas(cluster: Cluster, primary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if not cluster.replica_urls:
        return {}
    configs = [for_visitors(parse_url(cluster.replica_urls, url)) for url in text(cluster.replica_urls).split()]
    if any(config["ENGINE"] != primary["ENGINE"] for config in configs):
        raise ImproperlyConfigured(
            f"{cluster.replica_urls} names a database of another engine than {cluster.url}; "
            "a replica runs the same engine as its primary."
        )
    if primary["ENGINE"] == ENGINES["sqlite"]:
        configs = [_read_only_sqlite(config) for config in configs or [primary]]
    prefix = cluster.replica_urls.removesuffix("_URLS").lower()
    return {
        f"{prefix}_{number}": config | {"TEST": {"MIRROR": cluster.primary}}
        for number, config in enumerate(configs, start=1)
    }


def _owner(cluster: Cluster, primary: dict[str, Any]) -> dict[str, Any]:
    variable = owner_variable(cluster)
    config = parse_url(variable, text(variable) or text(cluster.url))
    if (config["ENGINE"], config["NAME"]) != (primary["ENGINE"], primary["NAME"]):
        raise ImproperlyConfigured(
            f"{variable} leads to {_place(config)}, but {cluster.url} to {_place(primary)}. "
            "The owner's account migrates the tables that the application's reads and writes."
        )
    return config


def _place(config: dict[str, Any]) -> str:
    return f"the {config['ENGINE'].rpartition('.')[2]} database {config['NAME']!r}"


def _sqlite(path: str) -> dict[str, Any]:
    return {
        "ENGINE": ENGINES["sqlite"],
        # Not made anew when it has vanished: an empty file in its place would hide that.
        "NAME": f"file:{quote(path)}?mode=rw",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            # A transaction that reads first and writes later could not wait for its turn; one that begins as a
            # writer can, for `timeout` seconds.
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
        },
    }


def _read_only_sqlite(config: dict[str, Any]) -> dict[str, Any]:
    """The same file, opened so that it refuses writes itself, as a real replica would."""
    name = config["NAME"].replace("?mode=rw", "?mode=ro")
    return {"ENGINE": ENGINES["sqlite"], "NAME": name, "OPTIONS": {"timeout": 5}}


def _sqlite_path(variable: str, url: str) -> str:
    found = re.fullmatch(r"sqlite:///(/[^?]+)", url)
    if not found:
        raise ImproperlyConfigured(f"{variable} is not the URL of a SQLite file with an absolute path. {EXPECTED}")
    return found[1]


def _server(variable: str, url: str) -> dict[str, Any]:
    try:
        if "@" in urlsplit(url).path:
            raise ValueError
        config = dict(env.db_url_config(url, engine=ENGINES[urlsplit(url).scheme]))
    except ValueError:
        # `from None`: the message of urllib quotes the part that it could not read, which may hold the password.
        raise ImproperlyConfigured(f"{variable} cannot be read as a URL. {EXPECTED}") from None
    missing = [key for key in ("NAME", "HOST") if not config.get(key)]
    if missing:
        raise ImproperlyConfigured(f"{variable} has no {' and no '.join(missing)}. {EXPECTED}")
    return config


def _mysql_tls(variable: str, options: dict[str, Any]) -> dict[str, Any]:
    """The URL's ssl_ca, ssl_cert, ssl_key and ssl_mode as the driver wants them.

    Modes that do not verify are refused: with some client libraries they connect in plaintext to a server without TLS.
    """
    asked = {name for name in options if name.startswith("ssl")}
    if not asked:
        return options
    files = {name: options[f"ssl_{name}"] for name in ("ca", "cert", "key") if f"ssl_{name}" in options}
    mode = options.get("ssl_mode", VERIFYING[0])
    unknown = asked - {"ssl_mode", *(f"ssl_{name}" for name in files)}
    if unknown or "ca" not in files or mode not in VERIFYING:
        raise ImproperlyConfigured(
            f"{variable} asks for TLS by {', '.join(sorted(asked))}, and so not for a server that proves who it is. "
            f"Say ssl_ca=/PATH/ca.pem, and ssl_mode={VERIFYING[0]} (the default) or {VERIFYING[1]}; ssl_cert and "
            "ssl_key are known besides."
        )
    for name, path in files.items():
        if not Path(path).is_file():
            raise ImproperlyConfigured(f"{variable} says ssl_{name}={path}, which is not a file.")
    rest = {name: value for name, value in options.items() if name not in asked}
    return rest | {"ssl": files, "ssl_mode": mode}


def _create_private(variable: str, path: Path) -> None:
    """Make the file before SQLite does, so that it is never readable by others."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():  # what is there already, fit or not, is for the connection to judge
            os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))
    except OSError as error:
        raise ImproperlyConfigured(
            f"The SQLite file {path} cannot be made or read: {error.strerror}. Set {variable} to a database that can, "
            "or VAR_DIR to a folder that is yours."
        ) from error


VAR_DIR = (BASE_DIR / Path(text("VAR_DIR", "var")).expanduser()).resolve()
DATABASES, CLUSTERS = build(DECLARED, VAR_DIR)
if DATABASES["cache_db"]["ENGINE"] == ENGINES["sqlite"]:
    # Pages write to it, and whoever closes a file as the last one folds its log into it, which takes ten times as long.
    DATABASES["cache_db"]["CONN_MAX_AGE"] = 60
OWNER_DATABASES = owners(CLUSTERS, DATABASES)
# The account by which the health prober looks at PostgreSQL servers; empty: each alias's own.
DATABASE_PROBE = {"USER": text("DATABASE_PROBE_USER"), "PASSWORD": text("DATABASE_PROBE_PASSWORD")}
DATABASE_ROUTERS = ["routers.read_write_split.ReadWriteSplitRouter", "routers.central.DatabaseRouter"]
