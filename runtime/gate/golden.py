"""The golden cases of a bundle: small scans, and the labels that the trained network gave them."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import nibabel
import numpy as np

from cmc_sdk.bundle.strict_json import parse_json
from cmc_sdk.errors import BundleError, CmcError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.gate.case import Answer, Masks, ParityCase, Subset
from cmc_sdk.strict_model import StrictModel

__all__ = [
    "INDEX_PATH",
    "GoldenCase",
    "GoldenReference",
    "GoldenRun",
    "decode_volume",
    "encode_volume",
    "read_golden_cases",
    "write_index",
]

INDEX_PATH = "golden/golden.json"
_MAX_BYTES = 256 << 20
_NIBABEL_ERRORS = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)


class GoldenRun(StrictModel):
    """What came out for one subset of the modalities.

    Args:
        present: The modalities that were given.
        labels: Path of the label map by modality, from the bundle's root.
        confidence: Path of the confidence map (uint8, 1/255) by modality.
        undecided: Path of a mask by modality: 1 where the network hangs between two classes, so that rounding decides.
    """

    present: tuple[str, ...]
    labels: dict[str, str]
    confidence: dict[str, str]
    undecided: dict[str, str]


class GoldenCase(StrictModel):
    """One golden scan: path of the image by modality, all in one frame of reference, and its runs."""

    name: str
    images: dict[str, str]
    runs: tuple[GoldenRun, ...]


class _Index(StrictModel):
    cases: tuple[GoldenCase, ...]


def encode_volume(volume: Volume) -> bytes:
    """A `.nii.gz` of the volume's voxels and affine; equal volumes give equal bytes."""
    array = np.ascontiguousarray(volume.data)
    image: Any = nibabel.Nifti1Image(array, volume.affine_mm)  # type: ignore[no-untyped-call]
    return gzip.compress(image.to_bytes(), mtime=0)


def decode_volume(content: bytes, *, name: str) -> Volume:
    """The volume that `encode_volume` wrote; the affine has NIfTI's float32 precision.

    Raises:
        BundleError: The bytes are not such a file.
    """
    try:
        raw = _unpacked(content)
        image: Any = nibabel.Nifti1Image.from_stream(io.BytesIO(raw))
        array = np.asarray(image.dataobj)
        return Volume(array, np.asarray(image.affine, dtype=np.float64), name=name)
    except (OSError, EOFError, ValueError, zlib.error, *_NIBABEL_ERRORS, CmcError) as error:
        raise BundleError(f"{name} is not a golden volume: {error}", mend="get the bundle again") from error


def _unpacked(content: bytes) -> bytes:
    """The bytes of a packed NIfTI file: as many as its header says, since a few packed kilobytes may be terabytes."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        head = packed.read(348)
        if len(head) < 348:
            raise ValueError("it is shorter than a header")
        header: Any = nibabel.Nifti1Header(head)  # type: ignore[no-untyped-call]
        size = int(header["vox_offset"]) + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        if not len(head) < size <= _MAX_BYTES:
            raise ValueError(f"its header claims {size} bytes; {_MAX_BYTES} are allowed")
        raw = head + packed.read(size - len(head))
        if len(raw) != size or packed.read(1):
            raise ValueError(f"it is not as long as its header says, {size} bytes")
    return raw


def write_index(cases: tuple[GoldenCase, ...]) -> bytes:
    """The bytes of `golden/golden.json`."""
    return (_Index(cases=cases).model_dump_json(indent=1) + "\n").encode()


def read_golden_cases(
    read: Callable[[str], bytes],
) -> tuple[list[ParityCase], Mapping[tuple[str, Subset], Answer]]:
    """The golden scans of a bundle, and what the trained network answered to each subset of their modalities.

    Args:
        read: Gives the verified bytes of a file of the bundle: `Bundle.read`.

    Raises:
        BundleError: The bundle has no golden cases, or they are not as written by the export.
    """
    try:
        index = _Index.model_validate(parse_json(read(INDEX_PATH), name=INDEX_PATH)).cases
    except ValueError as error:
        raise BundleError(f"{INDEX_PATH} is not an index of golden cases", mend="export the bundle again") from error

    def volumes(paths: Mapping[str, str]) -> dict[str, Volume]:
        return {name: decode_volume(read(path), name=path) for name, path in paths.items()}

    cases, answers = [], {}
    for item in index:
        undecided: dict[Subset, Masks] = {}
        for run in item.runs:
            masks = volumes(run.undecided)
            undecided[run.present] = {name: mask.stored > 0 for name, mask in masks.items()}
            answers[item.name, run.present] = Answer(volumes(run.labels), volumes(run.confidence))
        images = volumes(item.images)
        cases.append(ParityCase(item.name, images, pairing="registered", kind="golden", undecided=undecided))
    return cases, answers


class GoldenReference:
    """The labels that came with the bundle: those of the trained network, where it was exported.

    Args:
        answers: By case and subset of its modalities.
    """

    name = "the trained network"

    def __init__(self, answers: Mapping[tuple[str, Subset], Answer]) -> None:
        self._answers = answers
        self.not_finite: Mapping[tuple[str, str], int] = {}

    def label(self, case: ParityCase, present: Subset) -> Answer | None:
        """As `Reference.label`; None for a subset that the export did not run."""
        return self._answers.get((case.name, present))

    def undecided(self, case: ParityCase, present: Subset, *, precision: str) -> Masks:
        """As `Reference.undecided`: the masks that came with the labels."""
        return case.undecided[present]
