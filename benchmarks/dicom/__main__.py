"""`make bench-dicom`: scanning beside pydicom's reading of headers alone, and the memory of reading a CT."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.dicom.study import make_ct, make_study

SCAN_BAR, MEMORY_BAR = 1.5, 1.3
FILES, SERIES, SLICES, REPEATS = 2000, 6, 800, 5

# A process that has imported the same and read a small series: what it weighs beyond that is the volume.
READ = """
import json, resource, sys
import numpy
from cmc_sdk import read_volume
read_volume(sys.argv[1])
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
volume = read_volume(sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"idle": idle * 1024, "peak": peak * 1024, "voxels": volume.stored.nbytes, "size": volume.size_vox}))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("study", "ct", "small"):
            (folder / part).mkdir()
        make_study(folder / "study", files=FILES, series=SERIES)
        scan = _scan(folder / "study")
        make_ct(folder / "ct", slices=SLICES)
        make_ct(folder / "small", slices=4)
        memory = _memory(folder)
    print(f"scanning {FILES:,} files in {SERIES} series ({scan['volumes']} volumes), median of {REPEATS} turns")
    print("                              wall   processor")
    print(f"  pydicom, headers alone   {scan['pydicom']:7.3f} s {scan['pydicom cpu']:7.3f} s")
    print(f"  cmc_sdk                  {scan['ours']:7.3f} s {scan['ours cpu']:7.3f} s")
    print(f"  ratio                    {scan['ratio']:7.2f}   {scan['ratio cpu']:7.2f}     (wall: at most {SCAN_BAR})")
    print(f"reading a CT of {'×'.join(map(str, memory['size']))}, {memory['voxels'] / 1e6:,.0f} MB of voxels as stored")
    print(f"  peak beyond idle         {memory['beyond'] / 1e6:,.0f} MB")
    print(f"  ratio                    {memory['ratio']:.2f}   (at most {MEMORY_BAR})")
    return int(scan["ratio"] > SCAN_BAR or memory["ratio"] > MEMORY_BAR)


def _scan(folder: Path) -> dict[str, float]:
    from pydicom import dcmread

    from cmc_sdk.imaging.dicom.reading.scan import scan_dicom

    def pydicom_alone() -> int:
        return len([dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in sorted(folder.iterdir())])

    def ours() -> int:
        scan = scan_dicom(folder)
        assert not scan.refused, scan.refused
        return len(scan.series)

    pydicom_alone(), ours()  # both from the same warm cache of the disk
    seconds: dict[str, list[float]] = {"pydicom": [], "ours": [], "pydicom cpu": [], "ours cpu": []}
    for _ in range(REPEATS):
        for kind, work in (("pydicom", pydicom_alone), ("ours", ours)):
            gc.collect()
            since, computed = time.perf_counter(), time.process_time()
            volumes = work()
            seconds[kind].append(time.perf_counter() - since)
            seconds[f"{kind} cpu"].append(time.process_time() - computed)
    found = {kind: statistics.median(times) for kind, times in seconds.items()}
    ratios = {"ratio": found["ours"] / found["pydicom"], "ratio cpu": found["ours cpu"] / found["pydicom cpu"]}
    return {**found, **ratios, "volumes": volumes}


def _memory(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-c", READ, str(folder / "small"), str(folder / "ct")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    beyond = found["peak"] - found["idle"]
    return {**found, "beyond": beyond, "ratio": beyond / found["voxels"]}


if __name__ == "__main__":
    sys.exit(main())
