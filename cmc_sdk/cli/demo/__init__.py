"""`cmc demo`: the whole path on a phantom, and its page."""

from __future__ import annotations

from cmc_sdk.cli.demo.whole_path import command

__all__ = ["command"]
