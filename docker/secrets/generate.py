"""Makes the passwords on first boot, and gives each service the ones that it needs, each in a volume of its own.

/secrets/all keeps them and is mounted nowhere else; what is in the other folders is written anew from it each time.
"""

import secrets
from pathlib import Path

ALL = Path("/secrets/all")
ROLES = (
    "blog_owner", "blog_app", "blog_reader",
    "users_owner", "users_app", "users_reader",
    "analytics_owner", "analytics_app", "analytics_maintenance",
    "probe", "replicator",
)  # fmt: skip
REPLICAS = ("replica", "replica2")


def put(path: Path, value: str, mode: int) -> None:
    """Under another name first: a boot that is interrupted leaves no half of a password."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.write_text(value)
    fresh.chmod(mode)
    fresh.rename(path)


def secret(name: str) -> str:
    path = ALL / name
    if not path.exists():
        put(path, secrets.token_urlsafe(48), 0o400)
    return path.read_text()


def postgres(role: str, *hosts: str) -> str:
    """The URLs of the database that the role is named after, one for each host."""
    database = role.partition("_")[0]
    return "\n".join(f"postgres://{role}:{secret(role)}@{host}:5432/{database}" for host in hosts)


def give(service: str, files: dict[str, str]) -> None:
    for name, value in files.items():
        # The services run as different users; that nobody else has the volume is what protects it.
        put(Path("/secrets", service, name), value, 0o444)


def main() -> None:
    ALL.chmod(0o700)
    give("primary", {role: secret(role) for role in ("postgres", *ROLES)})
    give("replica", {"replicator": secret("replicator")})
    give("legacy", {"root": secret("legacy_root"), "legacy_app": secret("legacy_app")})
    site = {
        "SECRET_KEY": secret("secret_key"),
        "DATABASE_URL": postgres("blog_app", "primary"),
        "USERS_DATABASE_URL": postgres("users_app", "primary"),
        "ANALYTICS_DATABASE_URL": postgres("analytics_app", "primary"),
        "LEGACY_DATABASE_URL": f"mysql://legacy_app:{secret('legacy_app')}@legacy:3306/legacy",
        "DATABASE_PROBE_PASSWORD": secret("probe"),
    }
    for number in range(1, len(REPLICAS) + 1):
        site[f"READ_REPLICA_URLS_{number}"] = postgres("blog_reader", *REPLICAS[:number])
        site[f"USERS_REPLICA_URLS_{number}"] = postgres("users_reader", *REPLICAS[:number])
    give("web", site)
    # It erases in analytics, too.
    give("relay", site | {"ANALYTICS_DATABASE_URL": postgres("analytics_maintenance", "primary")})
    owners = {
        "DATABASE_OWNER_URL": postgres("blog_owner", "primary"),
        "USERS_DATABASE_OWNER_URL": postgres("users_owner", "primary"),
        "ANALYTICS_DATABASE_OWNER_URL": postgres("analytics_owner", "primary"),
        "ANALYTICS_DATABASE_URL": postgres("analytics_maintenance", "primary"),
    }
    give("migrate", site | owners)


main()
