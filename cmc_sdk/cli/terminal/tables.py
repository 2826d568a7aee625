"""Tables that read the same on a terminal, in a pipe and in a file: never cut to a width."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["text_table"]


def text_table(head: Sequence[str], *, rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """Columns two spaces apart; the first `text_columns` at the left, numbers at the right.

    Args:
        head: Column titles.
        rows: Cells, as many as titles.
        text_columns: How many of the first columns hold text.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < text_columns else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
