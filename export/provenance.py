"""Where a run's weights come from, as the manifest tells it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

from cmc_sdk.training.engine import Run
from cmc_sdk.training.engine.run_folder import datalist_sha256

__all__ = ["provenance_of"]


def provenance_of(run: Run) -> dict[str, object]:
    """What the run says of itself, with the names of files and not the folders of whoever trained it."""
    known: dict[str, object] = {
        "method": run.config.method,
        "seed": run.config.seed,
        "config": run.config.model_dump(mode="json"),
        **run.summary.get("provenance", {}),
    }
    known.setdefault("datalist_sha256", datalist_sha256(run.datalist))
    return {key: _without_folders(value) for key, value in known.items()}


def _without_folders(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        return re.split(r"[/\\]", value)[-1]
    return value
