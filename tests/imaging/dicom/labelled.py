"""Labels on series made for tests, and what the writers need beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmc_sdk.imaging.classes import ClassTable, Code, SegmentClass
from cmc_sdk.imaging.dicom.reading.read_series import read_dicom
from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity
from cmc_sdk.imaging.volume import Volume
from tests.imaging.dicom.series import SeriesSpec, write_series

ALGORITHM = AlgorithmIdentity(name="abdomen", version="1.2.0", serial_number="0123456789abcdef" * 4)
CLASSES = ClassTable(
    classes=(
        SegmentClass(index=1, name="liver", color=(230, 75, 53), snomed=Code(value="10200004", meaning="Liver")),
        SegmentClass(index=2, name="our own thing", color=(77, 187, 213)),
        SegmentClass(index=3, name="spleen", color=(0, 160, 135), snomed=Code(value="78961009", meaning="Spleen")),
    )
)
SPEC = SeriesSpec(size_vox=(21, 18, 9), spacing_mm=(0.75, 1.5, 3.0), modality="MR", seed=5)


def read_made(folder: Path, spec: SeriesSpec = SPEC) -> Volume:
    """A series as it is read after it was written to `folder`."""
    write_series(folder, spec)
    return read_dicom(folder)


def lopsided(size_vox: tuple[int, int, int]) -> np.ndarray:
    """Labels that no mirror, turn or shift leaves as they are: a piece with a hole, a speck in it, another class, and
    slices of different shapes. Class 3 is absent."""
    columns, rows, slices = size_vox
    labels = np.zeros(size_vox, dtype=np.uint8, order="F")
    for k in range(1, slices - 2):
        labels[2 : 9 + k, 3 : 11 - k // 2, k] = 1
        labels[4:7, 5:8, k] = 0
        labels[5, 6, k] = 1
    labels[columns - 5 : columns - 2, rows - 4 : rows - 1, slices // 2 :] = 2
    labels[1, rows - 2, 2] = 2
    return labels


def labelled(folder: Path, spec: SeriesSpec = SPEC) -> Volume:
    """Lopsided labels on a series made for them."""
    scan = read_made(folder, spec)
    return scan.with_array(lopsided(scan.size_vox), name="labels")
