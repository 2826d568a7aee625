"""Charts: honest about gaps, within their frame, safe with any name."""

from __future__ import annotations

import math
import re

import pytest

from cmc_sdk.pages.charts import bar_chart, line_chart


def test_a_chart_draws_finite_points_within_its_frame() -> None:
    series = {"a": [(0, 1.0), (50, math.nan), (100, 3.0)], "empty": [], "flat": [(0, 2.0), (100, 2.0)]}
    figure = line_chart("T < 1", series, last_step=100, stages=[("alone", 0, 60), ("semi", 60, 100)])
    assert "nan" not in figure.lower()
    assert "T &lt; 1" in figure
    assert "empty" not in figure
    points = re.findall(r'points="([^"]+)"', figure)
    assert len(points) == 2
    for pair in " ".join(points).split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 560
        assert 0 <= y <= 250
    assert "nothing was logged" in line_chart("x", {"a": [(0, math.nan)]}, last_step=1)


def test_long_curves_are_thinned_but_keep_their_end() -> None:
    figure = line_chart("x", {"a": [(i, float(i)) for i in range(10_000)]}, last_step=10_000)
    points = re.findall(r'points="([^"]+)"', figure)[0].split()
    assert len(points) <= 602
    assert float(points[-1].split(",")[0]) > 540


def test_bars_are_as_long_as_their_seconds() -> None:
    rows = [("<a>", {"network": 3.0, "all else": 1.0}, "4 s"), ("b", {"network": 1.0, "all else": 0.0}, "1 s")]
    figure = bar_chart(rows, parts=("network", "all else"))
    assert "&lt;a&gt;" in figure
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([^"]+)"', figure)]
    assert widths == pytest.approx([3 * widths[2], widths[2], widths[2], 0.0], abs=0.1)
    starts = [float(x) for x in re.findall(r'<rect x="([^"]+)"', figure)]
    assert starts[1] == pytest.approx(starts[0] + widths[0], abs=0.1)
    drawn, named = (set(re.findall(pattern, figure)) for pattern in (r'fill="(#\w+)"', r"background:(#\w+)"))
    assert drawn == named
    assert len(named) == 2


def test_bars_of_nothing_are_drawn_without_length() -> None:
    assert re.findall(r'width="([^"]+)"', bar_chart([("a", {"x": 0.0}, "0 s")], parts=("x",))) == ["0.0"]
