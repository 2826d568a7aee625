"""Small scans, and a way to run the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable

AFFINE = np.array([[-2.0, 0, 0, 20], [0, 2.0, 0, -30], [0, 0, 3.0, 5], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        assert "Traceback" not in self.err + self.out
        return lines[0]


def make_spec() -> ModelSpec:
    return ModelSpec(
        modalities=(
            ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-200, 300), unit="HU")),
            ModalitySpec(name="mr", dicom_modality="MR"),
        ),
        reference_modality="ct",
        classes=ClassTable.from_names(["liver", "spleen"]),
        grid=Grid(spacing_mm=(3, 3, 3), window_vox=(16, 16, 16), overlap=0.25),
    )


def make_scan(*, seed: int, size: tuple[int, int, int] = (24, 20, 14), affine: np.ndarray = AFFINE) -> Volume:
    rng = np.random.default_rng(seed)
    scan = np.full(size, -1000, np.int16)
    scan[3:-3, 3:-3, 2:-2] = rng.integers(-100, 200, tuple(n - m for n, m in zip(size, (6, 6, 4), strict=True)))
    return Volume(scan, affine, name="scan")


def with_trust(words: list[str]) -> list[str]:
    """The words of a command line, with `--development` where a bundle would be opened and no trust is stated."""
    opening = {"infer", "verify", "bench", "info"}
    bundle = len(words) > 1 and (words[0] in opening or (Path(words[1]) / "manifest.json").is_file())
    stated = {"--trust", "--development", "--help", "-h"} & set(words)
    return [*words, "--development"] if bundle and words[0] in {*opening, "evaluate"} and not stated else words


def run_process(
    words: list[str], *, environment: dict[str, str] | None = None, program: str = "from cmc_sdk.cli.main import main"
) -> subprocess.Popen[str]:
    """Start `cmc` in a process of its own; `program` runs before it."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{program}\nimport sys\nmain(sys.argv[1:])", *with_trust(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        # A shell that runs these tests in the background has told its children to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
