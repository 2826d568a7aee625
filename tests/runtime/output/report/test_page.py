"""The report page: pictures that show the right side of the patient, and a page that needs nothing else."""

from __future__ import annotations

import base64
import io
import itertools
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.runtime.output.report import render_report
from cmc_sdk.runtime.output.report.planes import confidence_overlay, cut_planes, label_overlay

CLASSES = ClassTable.from_names(["liver", "spleen <b>"])


def pictures(text: str) -> list[np.ndarray]:
    """The pixels of all pictures of a page."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def marked_volume(order: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[Volume, Volume]:
    """A volume in RAS terms, stored in any axis order: bright at the right, anterior, superior end of the label."""
    ras = np.zeros((10, 12, 8), np.float32)
    ras[7, 6, 4], ras[5, 9, 4], ras[5, 6, 6] = 100, 150, 200  # to the right, front and top of (5, 6, 4)
    labels = np.zeros_like(ras, np.uint8)
    labels[4:7, 5:8, 3:6] = 1
    affine = np.diag([1.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (-5, 3, 20)
    turned = affine[:, [*order, 3]].copy()
    arrays = [ras.transpose(order), labels.transpose(order)]
    for axis, flip in enumerate(flips):
        if flip:
            turned[:3, 3] += turned[:3, axis] * (arrays[0].shape[axis] - 1)
            turned[:3, axis] *= -1
            arrays = [np.flip(array, axis) for array in arrays]
    return Volume(arrays[0], turned), Volume(arrays[1], turned)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(False, False, False), (True, True, False), (True, False, True)])
def test_planes_look_at_the_patient_as_radiologists_do(order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    image, labels = marked_volume(order, flips)
    planes = cut_planes(image, labels=labels, confidence=labels, clip=(0.0, 200.0))
    assert planes.point_mm == pytest.approx((0.0, 15.0, 36.0))
    axial, coronal, sagittal = planes.planes
    middle = {"axial": (5, 4), "coronal": (3, 4), "sagittal": (3, 5)}  # row, column of (5, 6, 4) from top and left

    def brightest(plane: Any, value: int) -> tuple[int, int]:
        level = round(value / 200 * 255)
        rows, columns = np.nonzero(plane.grey == level)
        return int(rows[0]) - middle[plane.name][0], int(columns[0]) - middle[plane.name][1]

    assert brightest(axial, 100) == (0, -2)  # the patient's right lies on the left
    assert brightest(axial, 150) == (-3, 0)  # the front lies on top
    assert brightest(coronal, 100) == (0, -2)
    assert brightest(coronal, 200) == (-2, 0)
    assert brightest(sagittal, 150) == (0, -3)  # the front lies on the left
    assert brightest(sagittal, 200) == (-2, 0)
    assert (axial.width_mm, axial.height_mm) == (10.0, 24.0)
    assert (coronal.width_mm, coronal.height_mm) == (10.0, 32.0)
    assert (sagittal.width_mm, sagittal.height_mm) == (24.0, 32.0)
    assert axial.labels[5, 4] == 1
    assert axial.cross == pytest.approx((4.5 / 10, 5.5 / 12))


def test_an_empty_label_is_cut_in_the_middle() -> None:
    image = Volume(np.zeros((6, 6, 6), np.int16), np.eye(4))
    empty = image.with_array(np.zeros((6, 6, 6), np.uint8))
    planes = cut_planes(image, labels=empty, confidence=empty)
    assert planes.empty
    assert planes.planes[0].slice_number == 4


def test_overlays() -> None:
    labels = np.zeros((7, 7), np.uint8)
    labels[1:6, 1:6] = 1
    overlay = label_overlay(labels, classes=CLASSES)
    factor = overlay.shape[0] // 7
    assert overlay.shape == (7 * factor, 7 * factor, 4)
    inside = overlay[..., 3].reshape(7, factor, 7, factor).min(axis=(1, 3)) > 0
    assert np.array_equal(inside, labels > 0)
    assert overlay[factor, factor, 3] == 255  # the outline runs along the inside of the voxels at the border
    assert 0 < overlay[2 * factor, 2 * factor, 3] < 255
    assert tuple(overlay[3 * factor, 3 * factor, :3]) == CLASSES.classes[0].color
    doubt = confidence_overlay(np.array([[255, 250], [190, 100]], np.uint8))
    assert doubt[0].max(initial=0, where=[[False, False, False, True]] * 2) == 0
    assert doubt[1, 0, 3] < doubt[1, 1, 3]


def synthetic_result() -> tuple[Any, dict[str, Volume], ModelSpec]:
    labels = np.zeros((16, 14, 10), np.uint8)
    labels[4:8, 4:8, 4:8] = 1
    grid = Volume(np.zeros(labels.shape, np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
    spec = ModelSpec(
        modalities=(ModalitySpec(name="ct", intensity=IntensityRule(clip=(-100, 200), unit="HU")),),
        reference_modality="ct",
        classes=CLASSES,
        grid=Grid(spacing_mm=(1, 1, 1), window_vox=(16, 16, 16)),
    )
    result = SimpleNamespace(
        labels={"ct": grid.with_array(labels)},
        confidence={"ct": grid.with_array(np.full(labels.shape, 204, np.uint8))},
        volumes_ml={"ct": {"liver": 0.192, "spleen <b>": 0.0}},
        quality=SimpleNamespace(status="review", reasons=("field of view <small>",)),
    )
    return result, {"ct": grid}, spec


def test_the_page_is_one_file_that_asks_for_nothing_and_escapes_all_names() -> None:
    result, images, spec = synthetic_result()
    record = {"bundle": {"name": "a</script>b", "version": "1"}, "backend": "openvino", "seconds": {"total": 1.25}}
    text = render_report(result, images=images, spec=spec, record=record)
    assert text.startswith("<!doctype html>")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|<script|<link|@import|src=\"(?!data:)", text)
    assert text.count("data:image/png;base64,") == 12
    assert "spleen &lt;b&gt;" in text
    assert "field of view &lt;small&gt;" in text
    assert "a&lt;/script&gt;b 1" in text
    assert "0.80" in text  # mean confidence of the liver, 204 / 255
    assert "review" in text


def test_the_pictures_of_the_page_are_the_planes_to_the_pixel() -> None:
    result, images, spec = synthetic_result()
    text = render_report(result, images=images, spec=spec, record={})
    planes = cut_planes(images["ct"], labels=result.labels["ct"], confidence=result.confidence["ct"], clip=(-100, 200))
    labels = [label_overlay(plane.labels, classes=CLASSES) for plane in planes.planes]
    doubts = [confidence_overlay(plane.confidence) for plane in planes.planes]
    expected = [
        picture
        for marks in (labels, doubts)
        for plane, mark in zip(planes.planes, marks, strict=True)
        for picture in (plane.grey, mark)
    ]
    for found, pixels in zip(pictures(text), expected, strict=True):
        assert np.array_equal(found, pixels)
