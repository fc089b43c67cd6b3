import itertools
import xml.etree.ElementTree as ET
from datetime import date, timedelta

import pytest
from django.template import Context, Template

from apps.analytics.templatetags.charts import compact

SVG = "{http://www.w3.org/2000/svg}"
TEMPLATE = Template('{% load charts %}{% bar_chart points title="Events by day" unit="events" alias="analytics_db" %}')


def render(values: list[int]) -> str:
    points = [(date(2026, 1, 1) + timedelta(days=number), value) for number, value in enumerate(values)]
    return TEMPLATE.render(Context({"points": points}))


def drawing(values: list[int]) -> ET.Element:
    found = ET.fromstring(render(values)).find("svg")
    assert found is not None
    return found


def bars(svg: ET.Element) -> list[dict[str, float]]:
    return [{name: float(rect.attrib[name]) for name in ("x", "y", "width", "height")} for rect in svg.iter("rect")]


def test_no_days_draw_no_chart() -> None:
    assert "<svg" not in render([])


@pytest.mark.parametrize("values", [[0], [5], [0] * 7, list(range(30)), list(range(90)), [10**18, 1], [1] * 90])
def test_everything_lies_within_the_drawing(values: list[int]) -> None:
    svg = drawing(values)
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    for bar in bars(svg):
        assert bar["x"] >= 0
        assert bar["x"] + bar["width"] <= width
        assert bar["y"] >= 0
        assert bar["y"] + bar["height"] <= height


@pytest.mark.parametrize("number", [1, 2, 7, 30, 90])
def test_bars_stand_side_by_side(number: int) -> None:
    drawn = bars(drawing([3] * number))
    assert len(drawn) == number
    assert all(left["x"] + left["width"] < right["x"] for left, right in itertools.pairwise(drawn))


def test_height_is_in_proportion() -> None:
    one, two = bars(drawing([50, 100]))
    assert two["height"] == pytest.approx(2 * one["height"], abs=0.02)


def test_day_without_events_has_no_bar_and_one_event_can_be_seen_beside_a_million() -> None:
    drawn = bars(drawing([0, 1, 1_000_000]))
    assert len(drawn) == 2
    assert drawn[0]["height"] >= 1


def test_chart_has_a_name_a_description_and_the_role_of_an_image() -> None:
    svg = drawing([3, 9, 1])
    title, description = svg.find("title"), svg.find("desc")
    assert title is not None
    assert description is not None
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert title.text == "Events by day"
    assert description.text == "13 events in all. Most on 2 January: 9. Fewest on 3 January: 1."


def test_chart_scales_by_its_view_box_and_has_no_inline_style() -> None:
    html = render([1, 2, 3])
    assert "style" not in html
    assert "width" not in drawing([1, 2, 3]).attrib


@pytest.mark.parametrize("number", [1, 2, 7, 8, 30, 90])
def test_dates_are_few_and_the_last_one_is_named(number: int) -> None:
    labels = [text.text for text in drawing([1] * number).iter("text")][2:]
    assert 1 <= len(labels) <= 7
    last = date(2026, 1, 1) + timedelta(days=number - 1)
    assert labels[0] == f"{last.day} {last:%b}"


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 99, 100, 101, 586, 12_345, 10**18])
def test_axis_has_few_whole_steps_and_reaches_the_largest_value(largest: int) -> None:
    from apps.analytics.templatetags.charts import _ticks

    ticks = _ticks(largest)
    assert ticks[0] == 0
    assert ticks[-1] >= largest
    assert 2 <= len(ticks) <= 6
    assert len({after - before for before, after in itertools.pairwise(ticks)}) == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (1500, "1.5k"), (2_000_000, "2M"), (3 * 10**9, "3B"), (10**12, "1T")],
)
def test_axis_label_stays_short(number: int, text: str) -> None:
    assert compact(number) == text


def test_axis_label_of_a_huge_number_stays_short() -> None:
    assert len(compact(5 * 10**17)) <= 7
