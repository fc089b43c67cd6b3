"""What all databases hold of one person. Each app registers its own part; this one knows none of the others.

personal_data.register(Post, "posts", selectors.posts_held, fate="to stay, as by a deleted user")
"""

import json
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from django.db.models import Model, QuerySet

from routers.errors import alias_of
from routers.topology import topology

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]
Rows = Callable[[int], Iterable[Row]]
Database = tuple[str, list["Holding"]]


@dataclass(frozen=True)
class Holding:
    """One kind of rows: `rows` takes the id of a user and gives theirs as dicts; `fate` is what deletion is to do to
    them."""

    model: type[Model]
    label: str
    rows: Rows
    fate: str

    @property
    def alias(self) -> str:
        cluster = topology().clusters_of_app(self.model._meta.app_label)[0]
        return cluster.primary


_holdings: list[Holding] = []


def register(model: type[Model], label: str, rows: Rows, *, fate: str) -> None:
    """Have these rows in the download and on the pages of deletion, where the fate is "to be deleted", or "to …"."""
    _holdings.append(Holding(model, label, rows, fate))


def by_database() -> list[Database]:
    """The aliases of which something was registered, in the order of the topology, each with its holdings."""
    aliases = sorted({each.alias for each in _holdings}, key=topology().position_of)
    return [(alias, [each for each in _holdings if each.alias == alias]) for alias in aliases]


def by_key(rows: QuerySet[Any], *fields: str, size: int = 500) -> Iterator[Row]:
    """These fields and the key of the rows, in the order of the key; never more than `size` rows are in memory."""
    remaining = values = rows.order_by("pk").values("pk", *fields)
    while batch := list(remaining[:size]):
        yield from batch
        remaining = values.filter(pk__gt=batch[-1]["pk"])


def as_json(user_id: int) -> Iterator[str]:
    """One JSON object in pieces: under `databases` a section for each, and under `incomplete` those that failed."""
    incomplete: list[str] = []
    yield '{"databases": {'
    for number, (alias, holdings) in enumerate(by_database()):
        yield f"{', ' if number else ''}\n{_dumps(alias)}: {{"
        if not (yield from _section(alias, holdings, user_id)):
            incomplete.append(alias)
        yield "}"
    yield f'}},\n"incomplete": {_dumps(incomplete)}}}\n'


def _section(alias: str, holdings: list[Holding], user_id: int) -> Generator[str, None, bool]:
    for number, holding in enumerate(holdings):
        yield f"{', ' if number else ''}\n  {_dumps(holding.label)}: ["
        try:
            yield from _list(holding.rows(user_id))
        except DatabaseError as error:
            failed = alias_of(error) or alias
            logger.warning("A download of personal data is incomplete: %s (%s).", failed, type(error).__name__)
            sentence = f"{failed} did not answer, so this section is not complete. Download everything again later."
            yield f'], "incomplete": {_dumps(sentence)}'
            return False
        yield "]"
    return True


def _list(rows: Iterable[Row]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n    {_dumps(row)}"


def _dumps(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
