# ruff: noqa: T201 - it prints what it measures
"""What the outbox costs: a write with its message beside the write alone, the relay beside a loop that does the least.

python -m bench.outbox     needs PostgreSQL on this machine, as tests/servers does

The cases take turns, write by write and round by round, so that whatever else the machine does falls on all of them;
each figure is a median. The server does not wait for its disk (fsync=off), which makes the outbox's share the largest.
"""

import json

from bench.sites import site_on_postgres
from tests.project.conftest import Site

ROUNDS, WRITES, MESSAGES, KEYS = 7, 200, 5000, 50
CODE = """
import json, logging, time
from statistics import median
from django.db import connections, transaction
from apps.outbox.models import Message
from apps.outbox.publishing import publish
from apps.outbox.registry import declare_topic, handler
from apps.outbox.relay import BATCH, Relay
from apps.users.models import User

SOURCE, DESTINATION = "users_db", "analytics_db"
TOPIC = declare_topic("bench.said")
logging.disable()
user = User.objects.create(username="ada", email="ada@example.com")
# As the relay's threads, which keep their connections while there is work.
for alias in (SOURCE, DESTINATION):
    connections[alias].ensure_connection()
with connections[DESTINATION].cursor() as cursor:
    cursor.execute("CREATE TABLE effects (id bigserial PRIMARY KEY, n int NOT NULL)")

@handler(TOPIC, name="bench.take", destination=DESTINATION)
def take(payload):
    if payload["n"] < 0:
        raise ValueError("poison")
    effect(payload["n"])

def effect(n):
    with connections[DESTINATION].cursor() as cursor:
        cursor.execute("INSERT INTO effects (n) VALUES (%s)", [n])

def change():
    person = User.objects.select_for_update().get(pk=user.pk)
    person.bio = "changed"
    person.save()
    return person

def write_alone():
    with transaction.atomic(using=SOURCE):
        change()

def write_with_message():
    with transaction.atomic(using=SOURCE):
        person = change()
        publish(TOPIC, {"id": person.pk, "username": person.username}, key=f"user {person.pk}", using=SOURCE)

def fill(poison):
    with connections[SOURCE].cursor() as cursor:
        cursor.execute("TRUNCATE outbox_message")
    said = {"topic": TOPIC, "handler": "bench.take"}
    rows = [Message(**said, key=f"key {n % KEYS}", payload={"n": n}) for n in range(MESSAGES)]
    if poison:
        rows[0].payload = {"n": -1}
    Message.objects.using(SOURCE).bulk_create(rows)

def raw():
    fill(poison=False)
    yield
    done = 0
    while True:
        with transaction.atomic(using=SOURCE), connections[SOURCE].cursor() as cursor:
            cursor.execute(
                "SELECT id, payload->'n' FROM outbox_message WHERE done_at IS NULL ORDER BY id LIMIT %s "
                "FOR UPDATE SKIP LOCKED", [BATCH])
            rows = cursor.fetchall()
            if not rows:
                break
            with transaction.atomic(using=DESTINATION):
                for _, n in rows:
                    effect(n)
            cursor.execute("UPDATE outbox_message SET done_at = now() WHERE id = ANY(%s)", [[row[0] for row in rows]])
            done += len(rows)
    yield done

def relay(poison):
    fill(poison)
    yield
    yield Relay(SOURCE).drain().delivered

def microseconds(function):
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1e6

def rate(case):
    next(case)
    started = time.perf_counter()
    return next(case) / (time.perf_counter() - started)

writes = {each: [] for each in (write_alone, write_with_message)}
rates = {"raw loop": [], "relay": [], "relay with a poison message": []}
for round in range(ROUNDS):
    for _ in range(WRITES):
        for each, taken in writes.items():
            taken.append(microseconds(each))
    rates["raw loop"].append(rate(raw()))
    rates["relay"].append(rate(relay(poison=False)))
    rates["relay with a poison message"].append(rate(relay(poison=True)))
writes = {each.__name__: taken for each, taken in writes.items()}
print(json.dumps([{name: median(each) for name, each in table.items()} for table in (writes, rates)]))
"""


def measure(site: Site) -> tuple[dict[str, float], dict[str, float]]:
    names = {"ROUNDS": ROUNDS, "WRITES": WRITES, "MESSAGES": MESSAGES, "KEYS": KEYS}
    code = "\n".join(f"{name} = {value}" for name, value in names.items()) + CODE
    said = site.manage("shell", "--no-imports", "--command", code)
    writes, rates = json.loads(next(line for line in said.splitlines() if line.startswith("[{")))
    return writes, rates


def main() -> None:
    with site_on_postgres() as site:
        writes, rates = measure(site)
    alone, *_ = writes.values()
    for name, value in writes.items():
        print(f"{name.replace('_', ' '):<30}{value:>10.0f} µs{value / alone:>8.2f}")
    raw, healthy, _ = rates.values()
    for (name, value), beside in zip(rates.items(), (raw, raw, healthy), strict=True):
        print(f"{name:<30}{value:>10.0f} /s{value / beside:>8.2f}")


if __name__ == "__main__":
    main()
