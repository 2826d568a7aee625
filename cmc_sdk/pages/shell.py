"""The frame of every page: one file, no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib import resources

__all__ = ["SWITCHES", "badge", "escape", "facts", "legend", "page", "share", "swatch", "table"]

escape = html.escape

SWITCHES = (
    '<p class="switches small"><input type="checkbox" id="marks" class="toggle" checked>'
    '<label for="marks">overlays</label> &nbsp; <input type="checkbox" id="lines" class="toggle">'
    '<label for="lines">lines of the planes</label></p>'
)
"""Shows and hides what lies over the pictures of the sections after it, by style alone."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, *, body: str) -> str:
    """A whole page.

    Args:
        title: Plain text.
        body: HTML that goes into `<main>`.
    """
    style = resources.files("cmc_sdk.pages").joinpath("style.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def table(head: Sequence[str], *, rows: Iterable[Sequence[str]], strong: Sequence[int] = (), texts: int = 1) -> str:
    """An HTML table whose first columns are text and whose others are numbers, at the right.

    Args:
        head: Plain text.
        rows: Cells as HTML, escaped by the caller.
        strong: Indices of rows that stand out.
        texts: How many columns are text.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if place < texts else ' class=n'}>{cell}</{tag}>" for place, cell in enumerate(cells)
        )

    body = "".join(
        f"<tr{' class=strong' if place in strong else ''}>{line(cells, 'td')}</tr>" for place, cells in enumerate(rows)
    )
    header = line([escape(cell) for cell in head], "th")
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(items: Iterable[tuple[str, str]]) -> str:
    """Names and what stands for them, plain text both, one pair a line."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in items)
    return f'<dl class="facts">{lines}</dl>'


def share(part: float, *, text: str) -> str:
    """A number with a bar behind it.

    Args:
        part: How far the bar reaches, [0, 1].
        text: The number, plain text.
    """
    return f'<span class="share" style="--share:{round(100 * part)}%">{escape(text)}</span>'


def swatch(colour: str, name: str) -> str:
    """A patch of a colour, as CSS has it, and the name that it stands for, plain text."""
    return f'<span class="swatch" style="background:{colour}"></span>{escape(name)}'


def legend(items: Iterable[str]) -> str:
    """What the colours of a picture or a chart stand for; items are HTML of `swatch`."""
    return f'<div class="legend">{"".join(f"<span>{item}</span>" for item in items)}</div>'


def badge(status: str) -> str:
    """A quality status: ok, review or reject."""
    return f'<span class="badge {escape(status)}">{escape(status)}</span>'
