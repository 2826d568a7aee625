"""One self-contained HTML page about a result: pictures, volumes, confidence, quality and record."""

from __future__ import annotations

from cmc_sdk.runtime.output.report.page import render_report

__all__ = ["render_report"]
