"""Who made an object: the segmenter and the software that ran it."""

from __future__ import annotations

from dataclasses import dataclass

from cmc_sdk.version import __version__

__all__ = ["AlgorithmIdentity"]


@dataclass(frozen=True)
class AlgorithmIdentity:
    """What DICOM says of a segmenter.

    Args:
        name: Of the bundle.
        version: Of the bundle.
        serial_number: Which one exactly: the sha256 of the bundle's manifest, 64 hex digits, or any other name of up
            to 64 characters for a network that was not exported.
        manufacturer: Who made the bundle's software; also the algorithm's source.
        model_name: The program that ran it.
        software_version: Of that program.
    """

    name: str
    version: str
    serial_number: str
    manufacturer: str = "cmc-sdk"
    model_name: str = "cmc-sdk"
    software_version: str = __version__
