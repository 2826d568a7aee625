"""The table of what stays FP32 in half precision, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmc_sdk.cli.terminal.console import stdout
from cmc_sdk.cli.terminal.tables import text_table

__all__ = ["print_islands"]


def print_islands(parity: Mapping[str, Any] | None) -> None:
    """One row for each delicate part of each FP16 graph, as measured at export; nothing where there is none."""
    calibration = (parity or {}).get("fp16", {}).get("calibration", {})
    rows = [
        [path.removeprefix("graphs/fp16/"), part["kind"], "FP32" if part["kept_fp32"] else "FP16", part["reason"]]
        for path, graph in calibration.items()
        for part in graph["parts"]
    ]
    if rows:
        table = text_table(["graph", "part", "", "why"], rows=rows, text_columns=4)
        stdout().print(f"\nDelicate parts of the FP16 graphs, on real windows\n{table}", markup=False)
