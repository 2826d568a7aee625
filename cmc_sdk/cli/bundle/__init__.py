"""`cmc bundle`: signing a bundle, and the keys that are trusted."""

from __future__ import annotations

from cmc_sdk.cli.bundle.bundle_commands import command

__all__ = ["command"]
