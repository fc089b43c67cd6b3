"""The people of the demo site: those of content/people.toml, then made-up ones in any number."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import count, islice, product
from pathlib import Path
from types import MappingProxyType
from typing import Any

CONTENT = Path(__file__).parent / "content"
PASSWORD = "demo"  # noqa: S105 - the page that shows it is the point

FIRST = [
    "Aino",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Esther",
    "Felix",
    "Gloria",
    "Hugo",
    "Ilse",
    "Jamal",
    "Karin",
    "Leon",
    "Mira",
    "Nils",
    "Olga",
    "Pablo",
    "Rosa",
    "Sven",
]
LAST = [
    "Acheampong",
    "Berg",
    "Castillo",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Gupta",
    "Horvat",
    "Ito",
    "Jensen",
    "Kowalski",
    "Lopez",
    "Meyer",
    "Nguyen",
]


@cache
def named_people() -> tuple[Mapping[str, Any], ...]:
    """Read once for the whole process, so nobody may change them."""
    with (CONTENT / "people.toml").open("rb") as file:
        return tuple(MappingProxyType(person) for person in tomllib.load(file)["person"])


def people(number: int) -> list[Mapping[str, Any]]:
    """The first `number` people, always the same ones in the same order."""
    return [*islice(named_people(), number), *islice(_invented(), max(0, number - len(named_people())))]


def _invented() -> Iterator[dict[str, Any]]:
    for generation in count(1):
        for last, first in product(LAST, FIRST):
            username = f"{first}.{last}{generation}".lower()
            yield {
                "username": username,
                "first_name": first,
                "last_name": last,
                "email": f"{username}@example.com",
                "bio": "",
            }


def demo_logins() -> list[dict[str, str]]:
    """Who can sign in on the demo site: name, password and what they may see."""
    roles = {True: "every page and the admin"}
    return [
        {
            "username": person["username"],
            "password": PASSWORD,
            "role": roles.get(person.get("superuser", False))
            or ("an author who is also staff" if person.get("staff") else "an author and a customer of the old system"),
        }
        for person in named_people()
        if person.get("login")
    ]
