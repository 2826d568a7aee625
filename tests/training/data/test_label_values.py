"""Label maps and the class table that they are read with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.classes import ClassTable, SegmentClass
from cmc_sdk.imaging.nifti import read_nifti, write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.training.data.label_values import as_classes, read_label, values_outside

PLAIN = ClassTable.from_names(["liver", "spleen"])
MERGED = ClassTable(
    classes=(
        SegmentClass(index=1, name="tumour", color=(1, 2, 3), values=(2, 4, 200)),
        SegmentClass(index=2, name="liver", color=(4, 5, 6), values=(1,)),
    )
)


def label(values: list[int]) -> Volume:
    return Volume(np.array(values, np.uint8).reshape(len(values), 1, 1), np.eye(4))


def test_a_plain_table_leaves_the_map_as_it_is() -> None:
    volume = label([0, 1, 2, 1])
    assert as_classes(volume, classes=PLAIN) is volume


def test_values_are_merged_into_their_class() -> None:
    found = as_classes(label([0, 1, 2, 4, 200, 0]), classes=MERGED)
    assert found.stored.ravel().tolist() == [0, 2, 1, 1, 1, 0]
    assert found.stored.dtype == np.uint8


def test_a_value_that_counts_as_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label values 3 are not in the class table \(tumour: 2 4 200, liver: 1\)"):
        as_classes(label([0, 3]), classes=MERGED)
    counts = np.bincount([0, 1, 3, 7], minlength=256)
    assert values_outside(counts, classes=MERGED) == [3, 7]
    assert values_outside(counts, classes=PLAIN) == [3, 7]


def test_a_file_is_read_with_its_table(tmp_path: Path) -> None:
    write_volume(label([0, 4, 1]), tmp_path / "label.nii")
    image = read_nifti(tmp_path / "label.nii")
    found = read_label(tmp_path / "label.nii", image=image, classes=MERGED)
    assert found.stored.ravel().tolist() == [0, 1, 2]


def test_no_value_may_count_twice() -> None:
    with pytest.raises(ValueError, match="label value 1 counts as 'a' and as 'b'"):
        ClassTable(
            classes=(
                SegmentClass(index=1, name="a", color=(0, 0, 0)),
                SegmentClass(index=2, name="b", color=(0, 0, 0), values=(1, 2)),
            )
        )
