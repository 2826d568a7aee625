"""One process per backend and precision, one after another, and what each of them found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import open_bundle
from cmc_sdk.bundle.trust import Trust, TrustStore, require_trust
from cmc_sdk.errors import BackendError, InputError
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.catalogue import CATALOGUE
from cmc_sdk.runtime.backends.select import computable_pairs
from cmc_sdk.runtime.benchmark.figures import BenchReport, BenchRun
from cmc_sdk.runtime.host.description import describe_machine
from cmc_sdk.runtime.scans.synthetic import synthetic_size

__all__ = ["bench_bundle"]


def bench_bundle(
    bundle: str | os.PathLike[str],
    *,
    trust: Trust | None = None,
    backends: Sequence[str] | None = None,
    precisions: Sequence[Precision] | None = None,
    threads: int | None = None,
    warm_up: int = 1,
    runs: int = 5,
    progress: Progress | None = None,
) -> BenchReport:
    """Label one synthetic scan, with all modalities present, again and again, with each backend in each precision.

    Args:
        bundle: The folder `NAME.cmc`.
        trust: As for `Session`.
        backends: Only these; None for every one that is installed.
        precisions: Only these; None for every one that the bundle holds and this machine computes.
        threads: As for `Session`.
        warm_up: Cases before those that count, at least 1.
        runs: Measured cases, at least 1.
        progress: Called with (backend and precision, cases done, of).

    Raises:
        InputError: `runs` or `warm_up` is below 1.
        BundleError, TrustError: As `Session`.
        BackendError: Nothing of what was asked for can be measured here.
    """
    for name, count in (("runs", runs), ("warm-up", warm_up)):
        if count < 1:
            raise InputError(f"{count} cases of {name} measure nothing", mend=f"give --{name} 1 or more")
    policy = require_trust(trust)
    opened = open_bundle(bundle, policy=policy)
    manifest = opened.manifest
    pairs = [
        (backend, precision)
        for backend, precision in computable_pairs(manifest)
        if (backends is None or backend in backends) and (precisions is None or precision in precisions)
    ]
    if not pairs:
        raise BackendError(
            "nothing of what was asked for can be measured here",
            mend="leave --backend and --precision out; `cmc info` says what the bundle holds, `cmc doctor` what runs",
        )
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    job: dict[str, Any] = {
        "bundle": os.fspath(Path(bundle).resolve()),
        "trust": policy.model_dump(mode="json") if isinstance(policy, TrustStore) else policy,
        "threads": threads,
        "warm_up": warm_up,
        "runs": runs,
    }
    found: list[BenchRun] = []
    failed: dict[str, str] = {}
    for backend, precision in pairs:
        row = CATALOGUE[backend].path
        outcome = _measure({**job, "backend": backend, "row": row, "precision": precision}, progress=progress)
        if isinstance(outcome, BenchRun):
            found.append(outcome)
        else:
            failed[f"{backend} {precision}"] = outcome
    if not found:
        name, fault = next(iter(failed.items()))
        raise BackendError(f"{name} could not be measured: {fault}", mend="`cmc doctor` says what works here")
    return BenchReport(
        bundle=f"{manifest.name} {manifest.version}",
        manifest_sha256=opened.manifest_sha256,
        time_utc=started,
        machine=describe_machine().to_words(),
        modalities=manifest.spec.names,
        size_vox=synthetic_size(manifest.spec.grid),
        runs=tuple(found),
        failed=failed,
    )


def _measure(job: dict[str, Any], *, progress: Progress | None) -> BenchRun | str:
    """The figures, or why there are none."""
    command = [sys.executable, "-m", "cmc_sdk.runtime.benchmark.child"]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    answer: dict[str, Any] = {}
    last_words = ""
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({**job, "started": time.monotonic()}))
        child.stdin.close()
        for line in child.stdout:
            if not line.startswith("{"):
                last_words = line.strip() or last_words
                continue
            answer = json.loads(line)
            if progress is not None and "done" in answer:
                progress(f"{job['backend']} {job['precision']}", answer["done"], answer["total"])
        child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if "run" in answer:
        return BenchRun.model_validate_json(json.dumps(answer["run"]))
    if "error" in answer:
        return str(answer["error"])
    return f"its process ended with {child.returncode}{': ' + last_words if last_words else ''}"
