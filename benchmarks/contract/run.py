"""Child process: plan a run, do it, and print what was planned beside what the system counted."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import click
import numpy as np

from benchmarks.core.path import make_scan
from benchmarks.inference.case import StandIn, stand_in_centres


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Run this on OpenVINO; else a stand-in.")
@click.option("--size", nargs=3, type=int, required=True)
@click.option("--threads", default=2)
def main(bundle: Path | None, size: tuple[int, int, int], threads: int) -> None:
    """Print planned and measured bytes and seconds as JSON."""
    from cmc_sdk.bundle.manifest import Grid, ModalitySpec, ModelSpec
    from cmc_sdk.imaging.classes import ClassTable
    from cmc_sdk.imaging.volume import Volume
    from cmc_sdk.runtime.planning.limits import Limits
    from cmc_sdk.runtime.segmenter import Segmenter
    from cmc_sdk.runtime.session import Session

    if bundle is not None:
        session: Segmenter = Session(bundle, trust="development", backend="openvino", threads=threads, max_mem="1000GB")
    else:
        spec = ModelSpec(
            modalities=(ModalitySpec(name="ct", dicom_modality="CT"),),
            reference_modality="ct",
            classes=ClassTable.from_names([f"class_{index}" for index in range(1, len(stand_in_centres()))]),
            grid=Grid(spacing_mm=(1.5, 1.5, 2.0), window_vox=(96, 96, 96), overlap=0.5),
        )
        session = Segmenter(spec, StandIn(), threads=threads, limits=Limits(max_mem_bytes=10**12))
    scan = Volume(make_scan(size), np.diag([0.8, 0.8, 1.0, 1.0]))
    plan = session.plan({"ct": scan})
    result = session.infer({"ct": scan})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = {name: value for name, value in result.record.seconds.items() if name not in ("read", "plan")}
    print(
        json.dumps(
            {
                "planned_bytes": plan.total_bytes,
                "peak_bytes": peak,
                "planned_seconds": plan.seconds,
                "seconds": sum(seconds.values()),
                "windows": plan.windows,
                "streams": plan.streams,
                "session_bytes": plan.session_bytes,
                "core_bytes": plan.core_bytes,
            }
        )
    )


if __name__ == "__main__":
    main()
