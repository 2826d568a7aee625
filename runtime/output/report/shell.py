"""The frame of every page: one file, no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["SWITCHES", "badge", "escape", "page", "table"]

escape = html.escape

STYLE = """
:root { color-scheme: light dark; --text:#1d2329; --dim:#5b6670; --line:#dde2e7; --ground:#f6f7f9; --card:#fff;
  --ok:#1c7c4a; --review:#a15c00; --reject:#b3261e; --accent:#2457a6; }
@media (prefers-color-scheme: dark) { :root { --text:#e4e8ec; --dim:#9aa5b0; --line:#313840; --ground:#14171a;
  --card:#1c2024; --ok:#5cc98d; --review:#f0b055; --reject:#ff8a80; --accent:#8db7f5; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--ground); color:var(--text); font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
  "DejaVu Sans",sans-serif; }
main { max-width:1180px; margin:0 auto; padding:28px 20px 60px; }
h1 { font-size:25px; line-height:1.25; margin:0 0 4px; } h2 { font-size:18px; margin:0 0 12px; }
h3 { font-size:15px; margin:18px 0 8px; }
p { margin:6px 0; } .dim { color:var(--dim); } .small { font-size:13px; }
section { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:18px 20px;
  margin-top:18px; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
.scroll { overflow-x:auto; }
th { text-align:left; font-weight:600; color:var(--dim); font-size:13px; }
th, td { padding:5px 14px 5px 0; border-bottom:1px solid var(--line); white-space:nowrap; }
tr:last-child td { border-bottom:0; } .n { text-align:right; } tr.strong td { font-weight:600; }
.badge { display:inline-block; padding:1px 11px; border-radius:99px; font-weight:600; font-size:14px;
  border:1px solid currentColor; } .ok { color:var(--ok); } .review { color:var(--review); }
.reject { color:var(--reject); }
ul { margin:8px 0 0; padding-left:20px; } a { color:var(--accent); }
details summary { cursor:pointer; color:var(--dim); margin-top:10px; }
pre { overflow:auto; max-height:480px; font-size:12px; background:var(--ground); padding:12px; border-radius:6px; }
.swatch { display:inline-block; width:12px; height:12px; border-radius:3px; margin-right:7px; vertical-align:-1px; }
.legend { display:flex; flex-wrap:wrap; gap:4px 18px; margin:10px 0 2px; font-size:14px; }
.planes { display:grid; grid-template-columns:repeat(3,minmax(0,1fr)); gap:14px; }
@media (max-width:720px) { .planes { grid-template-columns:1fr; } }
figure { margin:0; } figcaption { font-size:13px; color:var(--dim); margin-top:4px; }
.frame { background:#000; border-radius:6px; aspect-ratio:1; display:flex; align-items:center; justify-content:center;
  overflow:hidden; }
.cut { position:relative; }
.cut img { position:absolute; inset:0; width:100%; height:100%; display:block; }
.cut img.mark { image-rendering:pixelated; }
.cut i { position:absolute; background:rgba(255,255,255,.28); } .cut i.v { top:0; bottom:0; width:1px; }
.cut i.h { left:0; right:0; height:1px; }
.cut b { position:absolute; color:#fff; font:600 13px/1 system-ui,sans-serif; text-shadow:0 0 3px #000,0 0 3px #000; }
.cut b.l { left:6px; top:calc(50% - 7px); } .cut b.r { right:6px; top:calc(50% - 7px); }
.cut b.t { top:6px; left:calc(50% - 5px); } .cut b.b { bottom:6px; left:calc(50% - 5px); }
.facts { display:grid; grid-template-columns:max-content 1fr; gap:4px 22px; margin:0; } .facts dt { color:var(--dim); }
.facts dd { margin:0; overflow-wrap:anywhere; } @media (max-width:720px) { .facts { grid-template-columns:1fr; } }
.toggle { margin:0 6px 0 0; vertical-align:-1px; }
.scale { display:inline-block; width:130px; height:10px; border-radius:3px; vertical-align:0; margin:0 8px; }
.switches:has(#marks:not(:checked)) ~ section .mark, .switches:has(#lines:not(:checked)) ~ section .cut i {
  visibility:hidden; }
@media print { section { break-inside:avoid; } .switches { display:none; } }
"""
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
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def table(head: Sequence[str], *, rows: Iterable[Sequence[str]], strong: Sequence[int] = ()) -> str:
    """An HTML table whose first column is text and whose others are numbers, at the right.

    Args:
        head: Plain text.
        rows: Cells as HTML, escaped by the caller.
        strong: Indices of rows that stand out.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{'' if place == 0 else ' class=n'}>{cell}</{tag}>" for place, cell in enumerate(cells))

    body = "".join(
        f"<tr{' class=strong' if place in strong else ''}>{line(cells, 'td')}</tr>" for place, cells in enumerate(rows)
    )
    header = line([escape(cell) for cell in head], "th")
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def badge(status: str) -> str:
    """A quality status: ok, review or reject."""
    return f'<span class="badge {escape(status)}">{escape(status)}</span>'
