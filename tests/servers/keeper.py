"""Starts servers, and ends them and removes their folder as soon as the process that asked for them is gone.

A process of its own, because a test run that was killed cannot tidy up: its end closes this one's standard input, and
that is the sign. A line of JSON in, [command, user, log], starts a server; a line out is its process id.
"""

import json
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS_TO_END = 10

Server = subprocess.Popen[bytes]


def keep(folder: Path) -> None:
    servers: list[Server] = []
    try:
        for line in sys.stdin:
            servers.append(_start(folder, *json.loads(line)))
            sys.stdout.write(f"{servers[-1].pid}\n")
            sys.stdout.flush()
    finally:
        for server in reversed(servers):
            _end(server)
        shutil.rmtree(folder, ignore_errors=True)


def identity(user: str | None) -> dict[str, Any]:
    """The arguments that make subprocess run a command as this user; None is ourselves."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def _start(folder: Path, command: list[str], user: str | None, log: str) -> Server:
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **identity(user),
        )


def _end(server: Server) -> None:
    server.send_signal(signal.SIGCONT)  # a test may have stopped it
    server.send_signal(signal.SIGQUIT)  # PostgreSQL ends without a checkpoint, MySQL as for SIGTERM
    try:
        server.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
