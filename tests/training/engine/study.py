"""A study of a few tiny scans and the smallest configuration that trains on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cmc_sdk.training.engine import TrainConfig, parse_config


def make_document(datalist: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """A configuration as YAML would give it; `changes` replace whole top keys."""
    document: dict[str, Any] = {
        "output": str(output),
        "model": {"backbone": "unet3d", "width": 4, "window_vox": 16},
        "data": {
            "datalist": str(datalist),
            "spacing_mm": [16.0, 16.0, 16.0],
            "overlap": 0.0,
            "labelled_batch": 2,
            "unlabelled_batch": 2,
        },
        "stages": {"alone": 2, "fused": 2, "semi": 4},
        "optimiser": {"lr": 3e-3, "warmup_steps": 2},
        "validation": {"every": 6},
        "device": "cpu",
        "checkpoint_every": 3,
        "log_every": 1,
    }
    return {**document, **changes}


def make_config(datalist: Path, output: Path, **changes: Any) -> TrainConfig:
    return parse_config(make_document(datalist, output, **changes), name="test")


def start(program: str, *words: str | Path, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Run a Python program with one thread in a process of its own, from the top of the checkout."""
    return subprocess.Popen(
        [sys.executable, *launcher, *(() if launcher else ("-c", program)), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
