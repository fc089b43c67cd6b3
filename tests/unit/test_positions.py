"""The cookies in which a visitor carries how far into each log they have seen: forged, replayed, and out of order."""

import random
import time
from collections.abc import Callable

import pytest
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from pytest_django import Settings

from routers import read_write_split, state
from routers.health import DOWN, REPLICA, UP, Health
from routers.middleware import RoutingMiddleware
from routers.positions import NAME, SALT, Position, Positions, dumps, furthest, loads, max_age
from routers.read_write_split import out_of_rotation
from routers.topology import Cluster

BLOG = {"blog": Position(1, 0x16_B374_D848)}
REPLICAS = ("near", "far")
Logs = dict[str, Position]


def answer(cookies: dict[str, str], seen: Positions | None = None) -> HttpResponseBase:
    """What a visitor with these cookies is answered by a page that shows them what is at these positions."""

    def view(request: HttpRequest) -> HttpResponse:
        known = state.current()
        assert known is not None
        known.required = furthest(known.required, seen or {})
        return HttpResponse(repr(known.required))

    request = RequestFactory().get("/")
    request.COOKIES.update(cookies)
    response = RoutingMiddleware(view)(request)
    assert isinstance(response, HttpResponseBase)
    return response


def carried(cookies: dict[str, str]) -> Positions:
    return furthest(*(loads(text) for name, text in cookies.items() if NAME.fullmatch(name)))


def arrive(response: HttpResponseBase, cookies: dict[str, str]) -> None:
    """Do with the cookies what a browser does when the response arrives."""
    for name, morsel in response.cookies.items():
        if morsel["max-age"] == 0:
            cookies.pop(name, None)
        else:
            cookies[name] = morsel.value


def is_ours(text: str) -> bool:
    try:
        loads(text)
    except ValueError:
        return False
    return True


def test_text_says_what_was_put_into_it() -> None:
    both = {**BLOG, "users": Position(3, 7)}
    assert loads(dumps(both)) == both
    assert loads(dumps({})) == {}


def test_truncated_text_says_nothing() -> None:
    text = dumps(BLOG)
    assert not any(map(is_ours, (text[:length] for length in range(len(text)))))


def test_text_with_another_character_says_nothing() -> None:
    text = dumps(BLOG)
    # All but the last one, not all of whose bits count.
    changed = [f"{text[:at]}{'x' if text[at] != 'x' else 'y'}{text[at + 1 :]}" for at in range(len(text) - 1)]
    assert not any(map(is_ours, changed))


FOREIGN: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no parts": lambda: "::",
    "a control character": lambda: "\x00",
    "beyond ASCII": lambda: "é\ufffd\udcff",
    "long": lambda: "." * 4096,
    "unsigned": lambda: '{"blog": [1, 2]}',
    "of another cookie": lambda: signing.dumps({"blog": [1, 2]}, salt="another"),
    "of another site": lambda: signing.dumps({"blog": [1, 2]}, key="another", salt=SALT),
    "half a position": lambda: signing.dumps({"blog": [1]}, salt=SALT),
    "no numbers": lambda: signing.dumps({"blog": ["one", None]}, salt=SALT),
    "a list": lambda: signing.dumps(["blog"], salt=SALT),
    "null": lambda: signing.dumps(None, salt=SALT),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_text_says_nothing_and_is_taken_away(kind: str) -> None:
    text = FOREIGN[kind]()
    assert not is_ours(text)
    response = answer({"pos.00000000": text, "pos.00000001": dumps(BLOG)})
    assert response.getvalue() == repr(BLOG).encode()
    assert response.cookies["pos.00000000"]["max-age"] == 0


def test_text_of_a_former_key_of_the_site_still_counts(settings: Settings) -> None:
    text = dumps(BLOG)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the new one", [settings.SECRET_KEY]
    assert loads(text) == BLOG


def test_old_text_says_nothing_in_a_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    then = time.time() - max_age() - 1
    monkeypatch.setattr("time.time", lambda: then)
    text = dumps(BLOG)
    monkeypatch.undo()
    assert answer({"pos.00000000": text}).getvalue() == b"{}"


@pytest.mark.parametrize("name", ["pos.", "pos.(0000000)", "pos.é", "pos.0000000g", "pos.000000000", "xpos.00000000"])
def test_cookie_of_a_name_that_is_none_of_ours_is_left_alone(name: str) -> None:
    response = answer({name: dumps(BLOG)})
    assert (response.status_code, response.getvalue(), len(response.cookies)) == (200, b"{}", 0)


def test_replayed_cookie_takes_nothing_back() -> None:
    cookies = {"pos.00000000": dumps(BLOG)}
    further = {"blog": Position(1, BLOG["blog"].at + 1)}
    response = answer(cookies, further)
    assert carried({name: morsel.value for name, morsel in response.cookies.items() if morsel.value}) == further
    arrive(response, cookies)
    assert carried(cookies) == further
    arrive(answer({"pos.00000000": dumps(BLOG)}), cookies)
    assert carried(cookies) == further
    assert answer({**cookies, "pos.00000000": dumps(BLOG)}).getvalue() == repr(further).encode()


def test_visitor_of_whom_nothing_new_is_known_is_sent_no_cookie() -> None:
    assert len(answer({}).cookies) == 0
    assert len(answer({"pos.00000000": dumps(BLOG)}).cookies) == 0


@pytest.mark.parametrize("bound", ["READ_YOUR_WRITES_SECONDS", "REPLICA_MAX_LAG_SECONDS"])
def test_cookie_lasts_longer_than_whatever_binds_a_visitor(bound: str, settings: Settings) -> None:
    assert max_age() == 300
    setattr(settings, bound, 600.5)
    assert max_age() == 1201


def test_several_cookies_become_one() -> None:
    cookies = {f"pos.0000000{number}": dumps({"blog": Position(1, number)}) for number in range(8)}
    arrive(answer(cookies), cookies)
    assert len(cookies) == 1
    assert carried(cookies) == {"blog": Position(1, 7)}


@pytest.fixture
def replayed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Logs:
    """How far two replicas of a cluster are. What a process knows of that may be older."""
    settings.SHARED_APPS = {}
    settings.CLUSTERS = (Cluster("blog", primary="default", apps=("blog",), replicas=REPLICAS),)
    logs = dict.fromkeys(REPLICAS, Position(1, 0))
    dice = random.Random(1)

    def health(alias: str) -> Health:
        timeline, at = logs[alias]
        return Health(alias=alias, state=UP, timeline=timeline, replayed=dice.choice([at, at, at // 2, 0]))

    monkeypatch.setattr(read_write_split, "health", health)
    return logs


def interleave(replayed: Logs, *seeds: int) -> None:
    for seed in seeds:
        replayed |= dict.fromkeys(REPLICAS, Position(1, 0))
        wander(random.Random(seed), replayed)


def wander(dice: random.Random, replayed: Logs) -> None:
    """Let one visitor have up to eight requests under way, whose answers arrive in any order, while the log and the
    replicas move on. What arrived must be carried, or have been replayed everywhere."""
    cookies: dict[str, str] = {}
    under_way: list[tuple[Position, HttpResponseBase]] = []
    shown, written = Position(1, 0), 0
    for _ in range(150):
        written += dice.randrange(10)
        replica = dice.choice(REPLICAS)
        replayed[replica] = Position(1, dice.randint(replayed[replica].at, written))
        if len(under_way) < 8 and dice.random() < 0.5:
            required = carried(cookies).get("blog", Position(1, 0))
            seen = Position(1, dice.randint(min(required.at, written), written))
            under_way.append((seen, answer(cookies, {"blog": seen})))
        elif under_way:
            seen, response = under_way.pop(dice.randrange(len(under_way)))
            arrive(response, cookies)
            shown = max(shown, seen)
        assert max(carried(cookies).get("blog", Position(1, 0)), min(replayed.values())) >= shown


@pytest.mark.parametrize("seed", range(20))
def test_position_never_goes_down_in_whatever_order_answers_arrive(seed: int, replayed: Logs) -> None:
    interleave(replayed, seed)


def test_pages_that_are_read_at_once_and_find_the_same_make_a_visitor_carry_one_cookie(replayed: Logs) -> None:
    cookies: dict[str, str] = {}
    for response in [answer(cookies, BLOG) for _ in range(100)]:
        arrive(response, cookies)
    assert len(cookies) == 1


def test_position_is_dropped_once_every_replica_has_passed_it(replayed: Logs) -> None:
    cookies: dict[str, str] = {}
    arrive(answer(cookies, BLOG), cookies)
    assert carried(cookies) == BLOG
    replayed["near"] = BLOG["blog"]
    for _ in range(20):
        arrive(answer(cookies), cookies)
    assert carried(cookies) == BLOG
    replayed["far"] = BLOG["blog"]
    for _ in range(20):
        arrive(answer(cookies), cookies)
    assert cookies == {}


def one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routers.positions._name", lambda positions: "pos.00000000")


def any_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routers.promises.all", any, raising=False)


@pytest.mark.parametrize("spoil", [one_name, any_replica])
def test_interleaving_finds_what_a_control_loses(
    spoil: Callable[[pytest.MonkeyPatch], None], replayed: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    with pytest.raises(AssertionError):
        interleave(replayed, *range(20))


@pytest.mark.parametrize(("primary", "is_out"), [(UP, True), (DOWN, False)])
def test_replica_that_came_back_is_not_read_before_it_has_what_it_once_showed(primary: str, is_out: bool) -> None:
    replica = Health(alias="near", state=UP, role=REPLICA, lag_bytes=9, is_streaming=False)
    found = out_of_rotation(replica, Health(alias="default", state=primary))
    assert found == ("it does not stream from its primary" if is_out else "")
