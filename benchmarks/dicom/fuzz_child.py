"""Reads folders named on standard input, one a line, and answers with one JSON line each: outcome and memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cmc_sdk.errors import CmcError
from cmc_sdk.imaging.dicom.reading.read_series import read_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom


def main() -> None:
    for line in sys.stdin:
        folder = Path(line.strip())
        Path("/proc/self/clear_refs").write_text("5")  # from here on the high-water mark is this folder's
        before = _memory("VmRSS")
        answer = _read(folder)
        answer["bytes"] = _memory("VmHWM") - before
        answer["claimed"] = _claimed(folder)
        print(json.dumps(answer), flush=True)


def _read(folder: Path) -> dict[str, object]:
    lines, volumes = [], 0
    try:
        scan = scan_dicom(folder)
        lines += [str(item) for item in scan.refused]
        for series in scan.series:
            try:
                volumes += read_series(series, irregular="resample").stored.ndim == 3
            except CmcError as error:
                lines.append(str(error))
    except CmcError as error:
        lines.append(str(error))
    except BaseException as error:  # a traceback is what this looks for
        return {"outcome": "traceback", "lines": [f"{type(error).__name__}: {error}"]}
    clear = all(line and "\n" not in line and "Traceback" not in line and len(line) < 1000 for line in lines)
    outcome = ("refused" if not volumes else "read") if clear else "unclear"
    return {"outcome": outcome if volumes or lines else "silent", "lines": lines}


def _claimed(folder: Path) -> int:
    """Rows × Columns × Frames × bytes, over the folder's files, as pydicom reads them."""
    import warnings

    from pydicom import dcmread

    total = 0
    for path in folder.iterdir():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = dcmread(path, stop_before_pixels=True, force=True)
                sizes = (dataset.Rows, dataset.Columns, dataset.get("NumberOfFrames") or 1, dataset.BitsAllocated)
                rows, columns, frames, bits = (int(size) for size in sizes)
                total += rows * columns * frames * (bits // 8)
        except Exception:
            continue
    return total


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
