"""The log of a run: one JSON object a line in `log.jsonl`, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from cmc_sdk.atomic import atomic_file
from cmc_sdk.training.engine.run_documents import LogLine
from cmc_sdk.training.engine.run_folder import RunPaths

__all__ = ["RunLog", "read_log"]


class RunLog:
    """Appends to the log of a run.

    Args:
        paths: The run folder.
        resume_at: Steps that are done in the checkpoint that training continues from: what the log holds beyond them
            was written by steps that are done again, and is dropped.
        enabled: False in all processes but the first, where nothing is written.
    """

    def __init__(self, paths: RunPaths, *, resume_at: int, enabled: bool = True) -> None:
        self._writer: SummaryWriter | None = None
        self._handle = None
        if not enabled:
            return
        if paths.log.is_file():
            kept = [line for line in read_log(paths.log) if line["step"] <= resume_at and line["kind"] != "final"]
            with atomic_file(paths.log) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._handle = open(paths.log, "a", encoding="utf-8")  # noqa: SIM115 (closed in `close`)
        self._writer = SummaryWriter(str(paths.tensorboard), purge_step=resume_at + 1 if resume_at else None)

    def write(self, kind: str, *, step: int, values: Mapping[str, object]) -> None:
        """Add one line.

        Args:
            kind: `step`, `validation` or `final`.
            step: Optimiser steps that are done.
            values: Numbers, or mappings of names to numbers, nested as deep as wanted. NaN becomes null, and is no
                point in TensorBoard.
        """
        if self._handle is None or self._writer is None:
            return
        known = {name: _without_nan(item) for name, item in values.items()}
        self._handle.write(json.dumps({"kind": kind, "step": step, **known}, allow_nan=False) + "\n")
        self._handle.flush()
        for name, value in _flat(values).items():
            if math.isfinite(value):
                self._writer.add_scalar(f"{kind}/{name}", value, global_step=step)

    def close(self) -> None:
        """Close both files."""
        if self._handle is not None:
            self._handle.close()
        if self._writer is not None:
            self._writer.close()


def read_log(path: Path) -> list[LogLine]:
    """All whole lines of a log; the last one is left out where the process died while writing it."""
    lines: list[LogLine] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line: LogLine = json.loads(text)
        except json.JSONDecodeError:
            break
        lines.append(line)
    return lines


def _without_nan(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
