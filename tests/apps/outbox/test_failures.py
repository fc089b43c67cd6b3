"""What is kept of an exception."""

import pytest

from apps.outbox.failures import describe


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
