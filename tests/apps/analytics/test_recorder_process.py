"""The recorder in processes of their own, on files."""

import subprocess
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.sqlite("analytics_db"), pytest.mark.sqlite("cache_db")]
Process = Callable[[str], "subprocess.CompletedProcess[str]"]


def test_process_that_is_killed_right_after_it_recorded_has_lost_nothing(process: Process) -> None:
    process("""
if (child := os.fork()) == 0:
    record()
    os.kill(os.getpid(), 9)
assert os.waitpid(child, 0)[1] == 9
Relay("cache_db").drain()
assert written() == 1
""")


def test_every_thread_and_every_forked_child_records(process: Process) -> None:
    process("""
def forked():
    if (child := os.fork()) == 0:
        code = 1
        try:
            record(10)
            code = 0
        finally:
            os._exit(code)
    return child

record(10)
connections.close_all()
children = [forked(), forked()]
threads = [threading.Thread(target=record, args=[10]) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
Relay("cache_db").drain()
assert written() == 110, written()
""")


def test_nothing_is_left_to_do_when_a_process_ends(process: Process) -> None:
    done = process("""
before = threading.active_count()
record()
assert threading.active_count() == before
""")
    assert done.stderr == ""


def test_locked_database_costs_one_event_its_wait_and_the_next_ones_nothing(process: Process) -> None:
    done = process("""
connections["cache_db"].settings_dict["OPTIONS"]["timeout"] = 0.5
blocker = sqlite3.connect(settings.VAR_DIR / "cache.sqlite3", isolation_level=None)
blocker.execute("BEGIN IMMEDIATE")
for _ in range(3):
    began = time.monotonic()
    assert not services.record_event(event_type="test")
    print(time.monotonic() - began)
blocker.execute("ROLLBACK")
blocker.close()
""")
    first, *rest = map(float, done.stdout.split())
    assert first > 0.4
    assert max(rest) < 0.1
    assert "[cache_db] apps.analytics.recorder: Events are lost" in done.stderr


def test_connection_to_the_local_file_is_kept_for_the_next_page(process: Process) -> None:
    process("""
from django.db import close_old_connections
record()
first = connections["cache_db"].connection
close_old_connections()
record()
assert connections["cache_db"].connection is first
""")
