"""The b-value of a diffusion image: the standard's attribute first, then the makers' private ones."""

from __future__ import annotations

import math
import struct

from cmc_sdk.imaging.dicom.reading.attributes import Attributes

__all__ = ["b_value"]

# General Electric adds this to the b-value of some sequences.
_GE_OFFSET = 1_000_000_000
# In s/mm²: far beyond what a scanner can do.
_MOST = 100_000.0


def b_value(attributes: Attributes) -> float | None:
    """In s/mm², or None where nothing says that this is a diffusion image.

    Looked for in this order: (0018,9087) of the standard; Siemens (0019,xx0C) of `SIEMENS MR HEADER` and `B_value` in
    the CSA header (0029,xx10); General Electric (0043,xx39) of `GEMS_PARM_01`; Philips (2001,xx03) of
    `Philips Imaging DD 001`. The private ones count only in the block that their creator reserved.
    """
    for find in (_standard, _siemens, _siemens_csa, _general_electric, _philips):
        value = find(attributes)
        if value is not None and math.isfinite(value) and 0 <= value <= _MOST:
            return float(value)
    return None


def _standard(attributes: Attributes) -> float | None:
    return attributes.double("DiffusionBValue")


def _siemens(attributes: Attributes) -> float | None:
    block = attributes.block(0x0019, "SIEMENS MR HEADER")
    return None if block is None else attributes.decimal(block | 0x0C)


def _siemens_csa(attributes: Attributes) -> float | None:
    block = attributes.block(0x0029, "SIEMENS CSA HEADER")
    return None if block is None else _csa_number(attributes.raw(block | 0x10), b"B_value")


def _general_electric(attributes: Attributes) -> float | None:
    block = attributes.block(0x0043, "GEMS_PARM_01")
    if block is None:
        return None
    value = attributes.decimal(block | 0x39)
    return value - _GE_OFFSET if value is not None and value >= _GE_OFFSET else value


def _philips(attributes: Attributes) -> float | None:
    block = attributes.block(0x2001, "Philips Imaging DD 001")
    return None if block is None else attributes.single(block | 0x03)


def _csa_number(data: bytes, name: bytes) -> float | None:
    """The first number of the CSA element `name`: 64 bytes of name, then its items of 16 bytes and a padded text."""
    if not data.startswith(b"SV10"):
        return None
    at = data.find(name + b"\0")
    if at < 0 or at + 84 > len(data):
        return None
    items = struct.unpack_from("<i", data, at + 76)[0]
    at += 84
    for _ in range(min(max(items, 0), 16)):
        if at + 16 > len(data):
            return None
        length = struct.unpack_from("<i", data, at + 4)[0]
        at += 16
        if not 0 <= length <= len(data) - at:
            return None
        text = data[at : at + length].split(b"\0")[0].strip()
        if text:
            try:
                return float(text)
            except ValueError:
                return None
        at += (length + 3) // 4 * 4
    return None
