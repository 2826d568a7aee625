"""The process that measures one backend in one precision: `python -m …benchmark.child`, with a job on its input.

It starts as `cmc infer` does and imports nothing more, so that its cold start and its memory are those of a run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cmc_sdk.bundle.manifest import ModelSpec
    from cmc_sdk.bundle.trust import TrustStore
    from cmc_sdk.runtime.backends.base import Backend
    from cmc_sdk.runtime.benchmark.figures import BenchRun

__all__ = ["main", "measure"]


def measure(job: dict[str, Any], *, started: float, say: Callable[[int, int], None]) -> BenchRun:
    """Measure what `job` asks for.

    Args:
        job: `bundle`, `trust` (a trust store as a table, or `development`), `backend`, `row` (where its row stands if
            it is not the catalogue's own), `precision`, `threads`, `warm_up`, `runs`.
        started: `time.monotonic()` of whoever started this process.
        say: Called with (cases done, of), warm-up included.

    Raises:
        As `Session`.
    """
    from cmc_sdk.bundle.reader import open_bundle
    from cmc_sdk.runtime.backends.catalogue import add_row, find_row
    from cmc_sdk.runtime.backends.instructions import prefer_for_f32
    from cmc_sdk.runtime.benchmark.figures import BenchRun, ColdStart, Percentiles
    from cmc_sdk.runtime.benchmark.timed import TimedBackend
    from cmc_sdk.runtime.host.memory import peak_rss_bytes
    from cmc_sdk.runtime.host.processor import clock_mhz
    from cmc_sdk.runtime.scans.synthetic import synthetic_case
    from cmc_sdk.runtime.segmenter import Segmenter
    from cmc_sdk.runtime.session import Session

    if job["precision"] == "f32":
        prefer_for_f32()
    if job["row"] is not None:
        add_row(job["row"])
    find_row(job["backend"]).load()
    imported = time.monotonic()
    bundle = open_bundle(job["bundle"], policy=_policy(job))
    session = Session(bundle, backend=job["backend"], precision=job["precision"], threads=job["threads"])
    opened = time.monotonic()
    manifest, backend = bundle.manifest, session.backend
    backend.set_streams(backend.best_streams)
    backend.prepare(manifest.spec.names, batch=1)
    compiled = time.monotonic()
    _first_window(backend, spec=manifest.spec)
    cold = ColdStart(
        import_s=imported - started,
        hash_s=opened - imported + backend.read_seconds,
        compile_s=compiled - opened - backend.read_seconds,
        first_window_s=time.monotonic() - compiled,
    )
    timed = TimedBackend(backend)
    segmenter = Segmenter(manifest.spec, timed, threads=job["threads"])
    images = synthetic_case(manifest.spec, seed=0)
    cases: list[float] = []
    stages: dict[str, float] = {}
    network = 0.0
    for index in range(job["warm_up"] + job["runs"]):
        if index == job["warm_up"]:
            timed.forget()
        start = time.perf_counter()
        record = segmenter.infer(images, pairing="registered").record
        if index >= job["warm_up"]:
            cases.append(time.perf_counter() - start)
            network += record.seconds["encode"] + record.seconds["decode"]
            for name, seconds in record.seconds.items():
                stages[name] = stages.get(name, 0.0) + seconds / job["runs"]
        say(index + 1, job["warm_up"] + job["runs"])
    windows = timed.windows()
    case = Percentiles.of(cases)
    return BenchRun(
        backend=backend.name,
        precision=backend.precision,
        reason=session.backend_reason,
        threads=job["threads"],
        streams=record.streams,
        cold=cold,
        windows=len(windows) // job["runs"],
        case=case,
        window=Percentiles.of(windows),
        graphs={name: Percentiles.of(seconds) for name, seconds in timed.seconds.items()},
        windows_per_s=len(windows) / job["runs"] / case.p50_s,
        # With streams the core works beside the network: then the two may overlap.
        outside_network=max(0.0, 1.0 - network / sum(cases)),
        stages=stages,
        peak_rss_bytes=peak_rss_bytes(),
        clock_mhz=clock_mhz(),
    )


def _policy(job: dict[str, Any]) -> TrustStore | Literal["development"]:
    from cmc_sdk.bundle.trust import TrustStore

    return "development" if job["trust"] == "development" else TrustStore.model_validate_json(json.dumps(job["trust"]))


def _first_window(backend: Backend, *, spec: ModelSpec) -> None:
    import numpy as np

    from cmc_sdk.runtime.labelling.label_scans import window_logits

    generator = np.random.Generator(np.random.Philox(0))
    window = {name: generator.standard_normal(spec.grid.window_vox, dtype=np.float32) for name in spec.names}
    window_logits([window], backend=backend, spec=spec, present=spec.names)


def main() -> None:
    """Read a job, measure it, and print one JSON object a line: progress, then the figures or the error."""
    from cmc_sdk.errors import CmcError

    job = json.loads(sys.stdin.read())
    try:
        run = measure(job, started=job["started"], say=lambda done, total: _print({"done": done, "total": total}))
    except CmcError as error:
        _print({"error": str(error)})
    else:
        _print({"run": run.model_dump(mode="json")})


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
