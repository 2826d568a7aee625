"""What comes out of each DICOM folder of the test data, as the table of docs/dicom.md.

`python -m tests.imaging.dicom.reading.outcomes DATA` prints it anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cmc_sdk.imaging.dicom.reading.read_series import read_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.dicom.refusal import DicomError
from cmc_sdk.imaging.orientation import axis_codes

HEAD = "| folder | volume | grid | spacing in mm | what there is to know |\n|---|---|---|---|---|"


def dicom_folders(data: Path) -> list[Path]:
    """Every folder that holds a DICOM file."""
    found = []
    for place, _, names in os.walk(data):
        for name in sorted(names):
            with open(Path(place, name), "rb") as handle:
                handle.seek(128)
                if handle.read(4) == b"DICM":
                    found.append(Path(place))
                    break
    return sorted(found)


def outcomes_table(data: Path) -> str:
    """The table: a row for each volume and each refusal."""
    rows = [HEAD]
    for folder in dicom_folders(data):
        name = f"`{folder.relative_to(data).as_posix()}`"
        for row in _rows(folder):
            rows.append(f"| {name} | {' | '.join(row)} |")
            name = ""
    return "\n".join(rows) + "\n"


def _rows(folder: Path) -> list[tuple[str, str, str, str]]:
    scan = scan_dicom(folder)
    rows = []
    for volume in scan.series:
        size = "×".join(map(str, volume.size_vox))
        spacing = "×".join(f"{value:.4g}" for value in volume.spacing_mm)
        try:
            notes = list(read_series(volume).notes)
        except DicomError as error:
            notes = [*volume.notes, f"**{error.name}**: refused unless resampled"]
        grid = f"{size}, {volume.orientation}, {axis_codes(volume.affine_mm)}"
        rows.append((f"{volume.modality} {volume.name}".strip(), grid, spacing, "; ".join(notes)))
    for item in sorted(scan.refused, key=lambda item: (item.name == "not DICOM", item.name, item.what)):
        if item.name == "not DICOM":
            continue
        which = "" if item.name != "not an image volume" else " (" + item.what.split(" holds no")[0] + ")"
        rows.append((f"refused: **{item.name}**{which}", "", "", f"{item.files} file(s)"))
    times = {row: f"{rows.count(row)} times" if rows.count(row) > 1 else "" for row in rows}
    return [(*row[:3], ", ".join(word for word in (row[3], count) if word)) for row, count in times.items()]


if __name__ == "__main__":
    print(outcomes_table(Path(sys.argv[1])), end="")
