"""How much of a folder, a zip or a volume is taken at most: checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DicomLimits"]


@dataclass(frozen=True)
class DicomLimits:
    """Limits against files that claim more than they can hold, and against accidents.

    Args:
        max_files: Files in a folder or a zip.
        max_header_bytes: Of one file, all before its pixels.
        max_volume_bytes: Voxels of one volume, as they will lie in memory.
        max_unpacked_bytes: Of a zip, all its members together.
        max_zip_ratio: Unpacked size of a zip over its packed size; applies above 256 MiB.
        min_slices: A stack of fewer is refused: with two slices nothing shows whether one is missing between them.
    """

    max_files: int = 200_000
    max_header_bytes: int = 256 << 20
    max_volume_bytes: int = 16 << 30
    max_unpacked_bytes: int = 64 << 30
    max_zip_ratio: float = 100.0
    min_slices: int = 3
