"""Metrics and tables over labelled cases."""

from __future__ import annotations

from cmc_sdk.training.evaluation.baseline import evaluate_baseline, fit_nearest_class_mean
from cmc_sdk.training.evaluation.evaluate import evaluate_cases
from cmc_sdk.training.evaluation.metrics import OrganScore, score_labels, score_organ
from cmc_sdk.training.evaluation.subsets import default_subsets, parse_subsets, presence_name
from cmc_sdk.training.evaluation.table import Row, Summary, mean_dice, read_csv, summarise, write_csv, write_json

__all__ = [
    "OrganScore",
    "Row",
    "Summary",
    "default_subsets",
    "evaluate_baseline",
    "evaluate_cases",
    "fit_nearest_class_mean",
    "mean_dice",
    "parse_subsets",
    "presence_name",
    "read_csv",
    "score_labels",
    "score_organ",
    "summarise",
    "write_csv",
    "write_json",
]
