"""How one sees from outside that a relay is at work."""

import signal
import time
from pathlib import Path
from threading import Thread

import pytest

from apps.outbox import relay
from apps.outbox.relay import Relay
from tests.apps.outbox.conftest import SOURCE, Copying
from tests.project.conftest import Site

LONG = 20  # seconds


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + LONG
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_relay_touches_its_file_again_and_again_until_it_is_told_to_stop(tmp_path: Path) -> None:
    site, heartbeat = Site(tmp_path / "var"), tmp_path / "heartbeat"
    site.manage("migrate_all", "--verbosity", "0")
    process = site.start("relay_outbox", "--heartbeat", str(heartbeat))
    for _ in range(2):
        wait_for(heartbeat)
        heartbeat.unlink()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LONG)
    assert (process.returncode, said) == (0, "")


def test_there_is_no_heartbeat_while_a_lane_is_stuck(
    tmp_path: Path, copy: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "HEARTBEAT", 0.01)
    one, heartbeat = Relay(SOURCE), tmp_path / "heartbeat"
    beating = Thread(target=one._beat, args=[heartbeat])
    beating.start()
    wait_for(heartbeat)
    monkeypatch.setattr(relay, "LONGEST_BATCH", 0)  # so nothing is under way for less
    time.sleep(0.1)
    heartbeat.unlink()
    time.sleep(0.2)
    assert not heartbeat.exists()
    one.stopping.set()
    beating.join()
