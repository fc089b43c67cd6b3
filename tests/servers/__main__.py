# ruff: noqa: T201 - what it prints is for whoever started it
"""Real servers for a while: a primary, a standby that streams it, and the old system.

python -m tests.servers             keeps them running until Ctrl-C, and prints their addresses for a shell
python -m tests.servers COMMAND …   runs COMMAND, with TEST_DATABASE_URL and so on saying where the tests find them
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tests.servers.processes import Missing, MySQL, PostgresWithRoles, password_of

PRIMARIES = {"DATABASE_URL": "blog", "USERS_DATABASE_URL": "users", "ANALYTICS_DATABASE_URL": "analytics"}
REPLICAS = {"READ_REPLICA_URLS": "blog", "USERS_REPLICA_URLS": "users"}
# Where a developer runs not only the site but also what fills it and what counts and deletes events.
USERS = {"analytics": "analytics_maintenance"}
INTERRUPTED = 128 + signal.SIGINT

Environment = dict[str, str]


class Servers:
    """Those that this machine can run; `missing` says what it lacks for the others, and the remedy."""

    def __init__(self, stack: ExitStack) -> None:
        self.missing: list[str] = []
        self.postgres: PostgresWithRoles | None = self._start(PostgresWithRoles, stack)
        self.mysql: MySQL | None = self._start(MySQL, stack)

    def _start(self, kind: Callable[[], Any], stack: ExitStack) -> Any:
        try:
            servers = kind()
        except Missing as missing:
            self.missing.append(str(missing))
            return None
        stack.callback(servers.end)
        return servers

    def development(self) -> Environment:
        """The site's variables, for empty databases and the old system's full one, each with an account of its own."""
        found: Environment = {}
        if self.postgres:
            primary, standby = self.postgres.primary, self.postgres.standbys[0]
            for variable, name in PRIMARIES.items():
                found[variable] = primary.url(name, USERS.get(name, f"{name}_app"))
                found[variable.replace("_URL", "_OWNER_URL")] = primary.url(name, f"{name}_owner")
            found |= {variable: standby.url(name, f"{name}_reader") for variable, name in REPLICAS.items()}
            found |= {"DATABASE_PROBE_USER": "probe", "DATABASE_PROBE_PASSWORD": password_of("probe")}
        if self.mysql:
            found["LEGACY_DATABASE_URL"] = self.mysql.url(user="legacy_app")
        return found

    def tests(self) -> Environment:
        """The same for config.settings.test, by accounts that may make databases: each worker makes its own."""
        found: Environment = {}
        if self.postgres:
            primary, standby = self.postgres.primary, self.postgres.standbys[0]
            found |= {variable: primary.url(name, "postgres") for variable, name in PRIMARIES.items()}
            found |= {variable: standby.url(name, "postgres") for variable, name in REPLICAS.items()}
        if self.mysql:
            found["LEGACY_DATABASE_URL"] = self.mysql.url()
        return {f"TEST_{variable}": url for variable, url in found.items()}


def main(command: Sequence[str]) -> int:
    """Returns the exit status: the command's, or without one 0 after Ctrl-C.

    With no server at all nothing is run, and that is a skip (0) of the command but a failure (1) to keep servers.
    """
    try:
        with ExitStack() as stack:
            servers = Servers(stack)
            if not (servers.postgres or servers.mysql):
                return _nowhere(command, servers.missing)
            for lack in servers.missing:
                print(f"What it would hold stays on SQLite: {lack}", file=sys.stderr)
            return _run(command, servers.tests()) if command else _keep(servers.development())
    except KeyboardInterrupt:
        return INTERRUPTED if command else 0


def _nowhere(command: Sequence[str], missing: Sequence[str]) -> int:
    if command:
        print(f"{shlex.join(command)}: skipped because there is no server to run it on.", file=sys.stderr)
    print(*missing, sep="\n", file=sys.stderr)
    return 0 if command else 1


def _run(command: Sequence[str], variables: Environment) -> int:
    # Ctrl-C reaches the command as well, which has things to tidy up and to say; we wait for it.
    signal.signal(signal.SIGINT, lambda *args: None)
    process = subprocess.Popen(command, env=os.environ | variables)
    signal.signal(signal.SIGTERM, lambda *args: process.terminate())
    status = process.wait()
    return status if status >= 0 else 128 - status


def _keep(variables: Environment) -> int:
    for name, url in variables.items():
        print(f"export {name}={shlex.quote(url)}")
    print("# Running until Ctrl-C.", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
