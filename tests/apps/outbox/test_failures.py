"""What is kept of an exception."""

import json
import re

import pytest

from apps.outbox.failures import describe
from tests.apps.outbox.conftest import DESTINATION, SOURCE, Copying, drain, states


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("bad 'line one\nline two'", "ValueError: bad '…'"),
        ("bad 'line one\nline two'\nand more", "ValueError: bad '…'"),
        ("bad\nDETAIL: line one", "ValueError: bad"),
        ("", "ValueError: "),
    ],
    ids=["value", "value, then a line", "line, then more", "nothing"],
)
def test_value_of_several_lines_is_masked_before_all_but_the_first_line_is_dropped(text: str, kept: str) -> None:
    assert describe(ValueError(text), {"bio": "line one\nline two"}) == kept


VALUE = 'Zoë\'s "pen"\n\\ two'


@pytest.mark.parametrize(
    "quoted",
    [VALUE, repr(VALUE), json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False), VALUE.upper(), repr(VALUE).lower()],
    ids=["as it is", "Python", "JSON", "JSON in UTF-8", "in capitals", "Python in small letters"],
)
def test_value_is_masked_however_it_is_quoted(quoted: str) -> None:
    kept = describe(ValueError(f"bad name: {quoted}!"), {"name": VALUE})
    assert re.fullmatch(r"""ValueError: bad name: ['"]?…['"]?!""", kept)


def test_what_only_resembles_a_value_is_kept() -> None:
    assert describe(ValueError("adage, Ada"), {"name": "ada"}) == "ValueError: adage, …"


def test_what_no_database_stores_is_written_with_backslashes() -> None:
    assert describe(ValueError("a NUL \0, caf\udce9 and Zoë"), {}) == r"ValueError: a NUL \0, caf\udce9 and Zoë"


@pytest.mark.django_db(databases=[SOURCE, DESTINATION])
@pytest.mark.parametrize("text", ["a NUL \0", "half a pair \udce9"], ids=["NUL", "surrogate"])
def test_message_fails_alone_whatever_the_error_says(copy: Copying, text: str) -> None:
    copy.failing["bad"] = ValueError(text)
    copy.publish(1, "bad", 2)
    assert drain() == (2, 1, [])
    assert states() == {1: "done", "bad": "failing", 2: "done"}
