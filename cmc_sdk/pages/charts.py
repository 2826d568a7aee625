"""Charts as inline SVG: no script, no library, no file beside the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cmc_sdk.pages.shell import escape, legend, swatch

__all__ = ["Series", "bar_chart", "line_chart"]

Series = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 22, 34
BARS_WIDTH, BARS_LEFT, BARS_RIGHT, BAR, ROW = 860, 190, 80, 18, 30
# Of middling lightness, so that they stand out on a light page and on a dark one.
COLOURS = ("#3b78e7", "#d9822b", "#21956a", "#8b5cd6", "#dc4c4c", "#1797ab", "#d6539a", "#7a9a1f", "#7b8794", "#a8703a")


def line_chart(
    title: str,
    series: Mapping[str, Series],
    *,
    last_step: float,
    stages: Sequence[tuple[str, float, float]] = (),
    y_range: tuple[float, float] | None = None,
    note: str = "",
) -> str:
    """Draw named lines over the steps of a run.

    Args:
        title: Stands above.
        series: Points (step, value) by the line's name; values that are not finite leave a gap.
        last_step: Right end of the axis.
        stages: Name, first and last step of each stage, drawn as bands.
        y_range: Lower and upper end of the vertical axis; None: from the values.
        note: One line below the title.

    Returns:
        A `<figure>`; one that says so where there is no point to draw.
    """
    lines = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    head = f'<figure class="chart"><figcaption>{escape(title)}'
    head += f"<small>{escape(note)}</small></figcaption>" if note else "</figcaption>"
    if not lines:
        return f'{head}<p class="dim">nothing was logged</p></figure>'
    values = [value for points in lines.values() for _, value in points]
    low, high = y_range or _padded(min(values), max(values))
    ticks = _ticks(low, high)

    def x_of(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1.0, last_step)

    def y_of(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for index, (name, first, last) in enumerate(stages):
        left, width = x_of(first), x_of(last) - x_of(first)
        shade = "band" if index % 2 else "band even"
        parts.append(
            f'<rect class="{shade}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
        )
        if width > 9 * len(name):
            parts.append(f'<text class="stage" x="{left + width / 2:.1f}" y="{TOP - 7}">{escape(name)}</text>')
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="left" x="{LEFT - 6}" y="{y + 4:.1f}">{_number(tick)}</text>')
    for tick in _ticks(0.0, last_step):
        parts.append(f'<text class="below" x="{x_of(tick):.1f}" y="{HEIGHT - BOTTOM + 16}">{_number(tick)}</text>')
    parts.append(f'<text class="below" x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 3}">step</text>')
    for index, points in enumerate(lines.values()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x_of(step):.1f},{y_of(value):.1f}" for step, value in _thinned(points))
        parts.append(f'<polyline points="{path}" stroke="{colour}"/>')
        if len(points) <= 40:
            parts += [
                f'<circle cx="{x_of(step):.1f}" cy="{y_of(value):.1f}" r="2.6" fill="{colour}">'
                f"<title>step {step:g}: {value:.4g}</title></circle>"
                for step, value in points
            ]
    parts.append("</svg>")
    names = (
        f"{swatch(COLOURS[index % len(COLOURS)], name)}<b>{_number(points[-1][1])}</b>"
        for index, (name, points) in enumerate(lines.items())
    )
    return f"{head}{''.join(parts)}{legend(names)}</figure>"


def bar_chart(rows: Sequence[tuple[str, Mapping[str, float], str]], *, parts: Sequence[str]) -> str:
    """Draw bars of seconds, one under the other, each made of parts.

    Args:
        rows: Name of a bar, seconds by part, and the words that stand at its end.
        parts: Names of the parts from left to right, at most as many as there are colours.

    Returns:
        A `<figure>` with a legend.
    """
    colours = dict(zip(parts, COLOURS, strict=False))
    longest = max((sum(seconds.values()) for _, seconds, _ in rows), default=0.0) or 1.0
    scale = (BARS_WIDTH - BARS_LEFT - BARS_RIGHT) / longest
    drawn = []
    for index, (name, seconds, total) in enumerate(rows):
        y, x = index * ROW, float(BARS_LEFT)
        drawn.append(f'<text class="left" x="{BARS_LEFT - 10}" y="{y + 14}">{escape(name)}</text>')
        for part, colour in colours.items():
            width = seconds[part] * scale
            drawn.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}">'
                f"<title>{escape(part)} {seconds[part]:.3f} s</title></rect>"
            )
            x += width
        drawn.append(f'<text x="{x + 8:.1f}" y="{y + 14}">{escape(total)}</text>')
    svg = f'<svg class="bars" viewBox="0 0 {BARS_WIDTH} {len(rows) * ROW}" role="img">{"".join(drawn)}</svg>'
    names = (swatch(colour, part) for part, colour in colours.items())
    return f'<figure class="chart">{svg}{legend(names)}</figure>'


def _padded(low: float, high: float) -> tuple[float, float]:
    """A range round the values; from 0 where they are positive and reach down near it."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) * 0.1 or 1.0
        return low - margin, high + margin
    margin = 0.05 * (high - low)
    start = 0.0 if 0 <= low < 0.5 * high else low - margin
    return start, high + margin


def _ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round numbers within the range."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _thinned(points: Series, *, most: int = 600) -> Series:
    """At most so many points, evenly chosen, the last one always among them: more than that no screen shows."""
    if len(points) <= most:
        return points
    stride = math.ceil(len(points) / most)
    return [*points[:-1:stride], points[-1]]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
