"""Encapsulated pixels through pydicom's decoders, checked before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
from cmc_sdk.imaging.dicom.reading.decoding.codestream import codestream_size
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["Encapsulated", "decode"]

_COPY_AGAIN = "copy it again from its source"
# One decoder for each family, so that a file is read the same way every time. Not GDCM's for JPEG 2000: beside the
# other OpenJPEG in one process it crashes now and then, on sound files.
_DECODERS = (
    ("JPEG 2000", "pylibjpeg", "pylibjpeg-openjpeg"),
    ("JPEG-LS", "pyjpegls", "pyjpegls"),
    ("RLE", "pylibjpeg", "pylibjpeg-rle"),
    ("JPEG", "gdcm", "python-gdcm"),
)


@dataclass(frozen=True)
class Encapsulated:
    """Which pixels, where, and what the header says of them. Plain values: it crosses a process boundary."""

    path: str
    offset: int
    file_bytes: int
    transfer_syntax: str
    rows: int
    columns: int
    number_of_frames: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    indices: tuple[int, ...]

    @property
    def frame_bytes(self) -> int:
        """Of one decoded frame."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """Of a decoded frame."""
        return np.dtype(f"{'i' if self.pixel_representation else 'u'}{self.bits_allocated // 8}")

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def decode(pixels: Encapsulated) -> Iterator[npt.NDArray[np.integer]]:
    """The frames `indices`, each (rows, columns).

    Raises:
        DicomError: There is no decoder, it fails, or what is coded is not what the header announces.
    """
    from pydicom.uid import UID

    name = UID(pixels.transfer_syntax).name
    try:
        with quiet_pydicom():
            yield from _decode(pixels, name=name)
    except (DicomError, GeneratorExit, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # whatever a decoder raises is one thing to the user; a Rust panic is no Exception
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1][:160] if lines else type(error).__name__
        raise DicomError(
            "decoder", f"{pixels.path}: its pixels ({name}) cannot be decoded ({reason})", mend=_COPY_AGAIN
        ) from error


def _decode(pixels: Encapsulated, *, name: str) -> Iterator[npt.NDArray[np.integer]]:
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    decoder = get_decoder(UID(pixels.transfer_syntax))
    plugin, package = next(((plugin, package) for family, plugin, package in _DECODERS if family in name), ("", ""))
    if plugin not in decoder.available_plugins:
        raise DicomError(
            "decoder",
            f"{pixels.path}: no decoder for {name} is installed",
            mend=f"install {package}, which cmc-sdk depends on" if package else "export it uncompressed",
        )
    with open(pixels.path, "rb") as handle:
        handle.seek(pixels.offset)
        data = handle.read(max(0, pixels.file_bytes - pixels.offset))
    # Before anything is decoded: a code stream may claim another size than the header, and its decoder believes it.
    for stream in generate_frames(data, number_of_frames=pixels.number_of_frames):
        size = codestream_size(stream)
        if size is not None and size != (pixels.rows, pixels.columns):
            raise DicomError(
                "decoder",
                f"{pixels.path}: its pixels are coded as {size[1]}×{size[0]} and announced as "
                f"{pixels.columns}×{pixels.rows}",
                mend=_COPY_AGAIN,
            )
    planes = decoder.iter_array(
        data,
        indices=list(pixels.indices),
        decoding_plugin=plugin,
        raw=True,
        validate=False,
        rows=pixels.rows,
        columns=pixels.columns,
        number_of_frames=pixels.number_of_frames,
        samples_per_pixel=1,
        bits_allocated=pixels.bits_allocated,
        bits_stored=pixels.bits_stored,
        pixel_representation=pixels.pixel_representation,
        photometric_interpretation="MONOCHROME2",
        pixel_keyword="PixelData",
        pixel_vr="OB",
    )
    for index in pixels.indices:
        plane, _ = next(planes)
        yield _checked(plane, pixels, index=index)


def _checked(plane: npt.NDArray[np.integer], pixels: Encapsulated, *, index: int) -> npt.NDArray[np.integer]:
    if plane.shape != (pixels.rows, pixels.columns) or plane.dtype.kind not in "iu":
        raise DicomError(
            "decoder",
            f"{Path(pixels.path)}: frame {index + 1} was decoded as {plane.dtype} of shape {plane.shape}",
            mend=_COPY_AGAIN,
        )
    if plane.dtype.itemsize == pixels.dtype.itemsize:
        return plane.view(pixels.dtype)
    return plane.astype(pixels.dtype)
