"""Child process: one backend in one precision on the whole case, through the same sliding window as every other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from benchmarks.inference.case import Case, SidePaths, case_spec

if TYPE_CHECKING:
    from cmc_sdk.runtime.segmenter import Segmenter


def open_side(name: str, precision: str, *, case: Case, paths: SidePaths) -> Segmenter:
    """The network behind the backend called `name`."""
    if name == "torch":
        import torch

        from cmc_sdk.runtime.segmenter import Segmenter
        from cmc_sdk.training.engine.torch_backend import TorchBackend
        from cmc_sdk.training.model import load_network

        torch.set_num_threads(case.threads)
        backend = TorchBackend(load_network(paths.network).eval(), precision=precision)
        return Segmenter(case_spec(case), backend, threads=case.threads)
    from cmc_sdk.runtime.backends.instructions import prefer_for_f32
    from cmc_sdk.runtime.session import Session

    if precision == "f32":
        prefer_for_f32()  # as `cmc infer` does
    choice: Any = name
    kind: Any = precision
    return Session(paths.bundle, trust="development", backend=choice, precision=kind, threads=case.threads)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--backend", required=True)
@click.option("--precision", default="f32")
@click.option("--cases", default=2)
def main(folder: Path, backend: str, precision: str, cases: int) -> None:
    """Label the scan in FOLDER `cases` times after a warm-up of the same windows; print the figures as JSON."""
    from cmc_sdk.imaging.nifti import read_nifti
    from cmc_sdk.imaging.volume import Volume
    from cmc_sdk.runtime.host.memory import peak_rss_bytes
    from cmc_sdk.runtime.host.processor import clock_mhz

    case = Case.read(folder)
    paths = SidePaths(folder, case=case)
    since = time.perf_counter()
    segmenter = open_side(backend, precision, case=case, paths=paths)
    whole = read_nifti(paths.scan)
    # Two windows: both streams are compiled and warm.
    part = Volume(
        np.ascontiguousarray(whole.stored[: whole.size_vox[0] // 2, : whole.size_vox[1] // 2]), whole.affine_mm
    )
    segmenter.infer({"ct": part})
    ready = time.perf_counter() - since
    seconds, records = [], []
    for _ in range(cases):
        since = time.perf_counter()
        result = segmenter.infer({"ct": whole})
        seconds.append(time.perf_counter() - since)
        records.append(result.record)
    np.save(folder / f"labels-{backend}-{precision}.npy", result.labels["ct"].stored)
    best = int(np.argmin(seconds))
    record = records[best]
    figures = {
        "seconds": seconds[best],
        "all_seconds": seconds,
        "ready_seconds": ready,
        "windows": record.windows_run,
        "streams": record.streams,
        "stages": record.seconds,
        "process_peak_bytes": peak_rss_bytes(),
        "clock_mhz": clock_mhz(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
