"""What the demo trains and compares on its page, by the names in the rows of the evaluation."""

from __future__ import annotations

__all__ = ["CONTROL", "METHOD", "RULE"]

METHOD = "cmc"
"""The method that is exported."""
CONTROL = "supervised"
"""The method that `METHOD` is compared with; up to stage 3 both are one."""
RULE = "nearest_class_mean"
"""The intensity rule, which needs no training."""
