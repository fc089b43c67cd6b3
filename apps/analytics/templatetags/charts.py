"""Bar charts as inline SVG: no script, no style attribute, nothing to load."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from django import template

register = template.Library()

# The drawing's own units; the page scales it.
WIDTH, HEIGHT = 640, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 4, 14, 30
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
WIDEST_BAR = 48
LABELS = 7


@register.inclusion_tag("analytics/_bar_chart.html")
def bar_chart(points: Sequence[tuple[date, int]], *, title: str, unit: str, alias: str) -> dict[str, Any]:
    """A bar for each day in the colour of the alias. `unit` is what is counted, in the plural."""
    ticks = _ticks(max((value for _, value in points), default=0))
    return {
        "points": points,
        "title": title,
        "unit": unit,
        "alias": alias,
        "view_box": f"0 0 {WIDTH} {HEIGHT}",
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "base": HEIGHT - BOTTOM,
        "gridlines": [{"y": _y(tick, ticks[-1]), "label": compact(tick)} for tick in ticks],
        "bars": _bars(points, ticks[-1]),
        "labels": _labels(points),
        "total": sum(value for _, value in points),
        "least": min(points, key=lambda point: point[1], default=None),
        "most": max(points, key=lambda point: point[1], default=None),
    }


@register.inclusion_tag("analytics/_share_bar.html")
def share_bar(value: int, largest: int, *, alias: str) -> dict[str, Any]:
    """A small bar beside a figure, as long as its share of the largest one."""
    return {"width": round(100 * value / largest, 1) if largest else 0, "alias": alias}


@register.filter
def figure(number: int) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,}"


def compact(number: int) -> str:
    """1500 as 1.5k, so that the axis stays narrow."""
    size, suffix = next(
        (
            (size, suffix)
            for size, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
            if number >= size
        ),
        (1, ""),
    )
    return f"{number / size:.4g}{suffix}"


def _ticks(largest: int) -> list[int]:
    """From 0 to at least `largest` in at most five equal steps of 1, 2 or 5 times a power of ten."""
    magnitude = 10 ** (len(str(largest // 5 or 1)) - 1)
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if 5 * factor * magnitude >= largest)
    return [step * number for number in range(max(1, -(-largest // step)) + 1)]


def _bars(points: Sequence[tuple[date, int]], top: int) -> list[dict[str, Any]]:
    slot = PLOT_WIDTH / max(1, len(points))
    width = min(slot * 0.8, WIDEST_BAR)
    return [
        {
            "date": day,
            "value": value,
            "x": round(LEFT + slot * (index + 0.5) - width / 2, 2),
            "y": _y(value, top),
            "width": round(width, 2),
            "height": round(HEIGHT - BOTTOM - _y(value, top), 2),
        }
        for index, (day, value) in enumerate(points)
    ]


def _labels(points: Sequence[tuple[date, int]]) -> list[dict[str, Any]]:
    """Some of the dates, counted back from the last one, whose label ends where the drawing ends."""
    slot = PLOT_WIDTH / max(1, len(points))
    every = -(-len(points) // LABELS) or 1
    shown = range(len(points) - 1, -1, -every)
    return [
        {
            "date": points[index][0],
            "x": WIDTH if at_end else round(LEFT + slot * (index + 0.5), 2),
            "anchor": "end" if at_end else "middle",
            "minor": place % 2 == 1,
        }
        for place, index in enumerate(shown)
        for at_end in [place == 0 and len(points) > LABELS]
    ]


def _y(value: int, top: int) -> float:
    """Where a value lies. A value that is not zero is at least a line."""
    height = max(PLOT_HEIGHT * value / top, 1.0 if value else 0.0)
    return round(HEIGHT - BOTTOM - height, 2)
