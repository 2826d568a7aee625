"""`python -m benchmarks.method`: train all arms on all seeds, print the table, say whether the bar is met."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.method import arms, report, task
from benchmarks.method.jobs import run
from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import CmcError


def main() -> int:
    """Run, print, and return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.method", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed instead of three")
    parser.add_argument("--processes", type=int, default=2, help="jobs at a time, one thread each (default 2)")
    parser.add_argument("--output", type=Path, help="write the figures there as JSON, too")
    chosen = parser.parse_args()
    root = Path(os.environ.get("CMC_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    seeds = [0] if chosen.quick else [0, 1, 2]
    begin = time.monotonic()
    try:
        results, discarded = run(root / "msd_hippocampus", seeds=seeds, processes=chosen.processes)
    except CmcError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows = report.table(results)
    print(report.as_text(rows, seeds=len(seeds), patients=task.TEST))
    seconds = time.monotonic() - begin
    print(f"\n{seconds / 60:.1f} minutes, {chosen.processes} processes; bases discarded for a lost class: {discarded}")
    settings = {
        "network": arms.NETWORK.model_dump(exclude_none=True),
        "base_steps": arms.BASE_STEPS,
        "arm_steps": arms.ARM_STEPS,
        "batch": arms.BATCH,
        "learning_rates": [arms.BASE_LR, arms.ARM_LR],
        "bases_discarded": discarded,
    }
    document = report.as_document(results, seeds=seeds, settings=settings, seconds=seconds)
    if chosen.output is not None:
        with atomic_file(chosen.output) as temporary:
            temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(document["met"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
