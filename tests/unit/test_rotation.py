"""Which replicas are read from, in words."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

from routers import health
from routers.health import DOWN, PRIMARY, REPLICA, UNKNOWN, UP, Health
from routers.read_write_split import out_of_rotation

SHOP = Health(alias="shop", state=UP, role=PRIMARY, timeline=2)
WELL = Health(alias="shop_replica", state=UP, role=REPLICA, timeline=2)


def why(**seen: Any) -> str:
    return out_of_rotation(replace(WELL, **seen), SHOP)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"state": DOWN}, "it is down"),
        ({"role": PRIMARY, "timeline": 3}, "it has been promoted"),
        ({"lag_seconds": 7.5}, "it lags by more than 7 s"),
        ({"timeline": 1}, "it follows timeline 1, its primary writes timeline 2"),
    ],
)
def test_replica_is_out_of_rotation_and_it_is_said_why(seen: dict[str, Any], words: str, settings: Settings) -> None:
    settings.REPLICA_MAX_LAG_SECONDS = 7
    assert why(**seen) == words


@pytest.mark.parametrize("seen", [{}, {"state": UNKNOWN}, {"role": None}, {"timeline": None}, {"lag_seconds": 29.0}])
def test_replica_of_which_nothing_bad_is_known_is_in_rotation(seen: dict[str, Any]) -> None:
    assert why(**seen) == ""


def test_replica_is_not_read_before_a_prober_that_runs_has_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.prober, "watches", {"shop_replica": health.Watch("shop_replica")})
    assert why(state=UNKNOWN) == "nobody has looked at it lately"
