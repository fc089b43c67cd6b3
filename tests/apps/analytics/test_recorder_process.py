"""The recorder in a process of its own, with its thread, on a file that breaks."""

import subprocess
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.sqlite("analytics_db")
Process = Callable[[str], "subprocess.CompletedProcess[str]"]


def test_thread_delivers_by_itself(process: Process) -> None:
    process("""
for _ in range(1200):
    services.record_event(event_type="test")
wait_for(lambda: written() == 1200)
assert recorder.waiting == 0
""")


def test_normal_exit_writes_what_waits(process: Process) -> None:
    done = process("""
import atexit
atexit._clear()
atexit.register(lambda: print(written()))
atexit.register(recorder.close)
services.record_event(event_type="test")
""")
    assert done.stdout.split() == ["1"]
    assert "apps.analytics.recorder" not in done.stderr


def test_exit_does_not_wait_long_for_a_database_that_hangs(process: Process) -> None:
    done = process("""
blocker = sqlite3.connect(FILE, isolation_level=None)
blocker.execute("BEGIN IMMEDIATE")
services.record_event(event_type="test")
time.sleep(0.5)
before = time.monotonic()
recorder.close()
print(time.monotonic() - before)
""")
    assert 1 < float(done.stdout) < 3
    assert "lost" in done.stderr


def test_database_that_hangs_delays_no_page(process: Process) -> None:
    done = process("""
blocker = sqlite3.connect(FILE, isolation_level=None)
blocker.execute("BEGIN IMMEDIATE")
slowest = 0
started = time.monotonic()
while time.monotonic() - started < 2:
    before = time.monotonic()
    services.record_event(event_type="test")
    slowest = max(slowest, time.monotonic() - before)
    time.sleep(0.01)
assert recorder.in_outage
waiting = recorder.waiting
blocker.execute("ROLLBACK")
wait_for(lambda: written() == waiting)
print(slowest)
""")
    assert float(done.stdout) < 0.5


def test_file_that_turns_to_garbage_is_one_outage_and_recovers(process: Process) -> None:
    done = process("""
from pathlib import Path
whole = Path(FILE).read_bytes()
Path(FILE).write_bytes(b"this is no database" * 1000)
for _ in range(5):
    services.record_event(event_type="test")
    time.sleep(0.2)
wait_for(lambda: recorder.in_outage)
assert recorder.waiting == 5
Path(FILE).write_bytes(whole)
wait_for(lambda: written() == 5)
wait_for(lambda: not recorder.in_outage)
""")
    lines = [line for line in done.stderr.splitlines() if "apps.analytics.recorder" in line]
    assert [line.split()[2:4] for line in lines] == [["ERROR", "[analytics_db]"], ["WARNING", "[analytics_db]"]]


def test_forked_child_writes_its_own_events_and_not_its_parents(process: Process) -> None:
    process("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads is the point
services.record_event(event_type="parent")
assert recorder.waiting == 1
if (child := os.fork()) == 0:
    code = 1
    try:
        assert recorder.waiting == 0
        services.record_event(event_type="child")
        wait_for(lambda: recorder.waiting == 0)
        code = 0
    finally:
        os._exit(code)
assert os.waitpid(child, 0)[1] == 0
wait_for(lambda: written() == 2)
time.sleep(0.5)
assert written() == 2
""")


@pytest.mark.parametrize("moment", ["during", "after"])
def test_recording_while_the_interpreter_ends_raises_nothing(process: Process, moment: str) -> None:
    order = {"during": ("record", "close"), "after": ("close", "record")}[moment]
    done = process(f"""
import atexit
atexit._clear()
calls = {{"record": lambda: services.record_event(event_type="test"), "close": recorder.close}}
for name in reversed({order!r}):
    atexit.register(calls[name])
services.record_event(event_type="test")
""")
    assert "Traceback" not in done.stderr
