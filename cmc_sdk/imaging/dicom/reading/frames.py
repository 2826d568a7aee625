"""Frames: the planes of which volumes are stacked, with every fact about them that their headers give."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["Discriminators", "Frame", "Instance", "PixelLayout", "Scaling", "SequenceWords"]


class Discriminators(NamedTuple):
    """What may tell volumes of one series apart where positions repeat, the most telling first.

    All are text to compare, empty where the header gives none; a volume is called by the field's name and its value.

    Args:
        image_type: Image Type or Frame Type.
        sequence: Name of the pulse sequence, or of the metabolite map.
        time: Temporal position.
        direction: Of the diffusion gradient.
        inversion_time: In ms.
        trigger_time: In ms.
        contrast_agent: Its name.
        kernel: Of the reconstruction.
        tube_voltage: In kV.
        flip_angle: In degrees.
        stack: Stack ID of a multi-frame instance.
        acquisition: Its number.
        acquisition_time: When it began.
    """

    image_type: str = ""
    sequence: str = ""
    time: str = ""
    direction: str = ""
    inversion_time: str = ""
    trigger_time: str = ""
    contrast_agent: str = ""
    kernel: str = ""
    tube_voltage: str = ""
    flip_angle: str = ""
    stack: str = ""
    acquisition: str = ""
    acquisition_time: str = ""


@dataclass(frozen=True)
class SequenceWords:
    """What the header says of how the scan was made; text is empty and numbers are None where it says nothing."""

    series_description: str = ""
    protocol_name: str = ""
    study_description: str = ""
    series_number: int | None = None
    sequence_name: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()
    contrast_agent: str = ""
    kernel: str = ""
    body_part: str = ""
    manufacturer: str = ""
    model: str = ""
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None


@dataclass(frozen=True)
class PixelLayout:
    """How one instance stores its pixels.

    Args:
        transfer_syntax: Its UID.
        little_endian: Byte order.
        offset: Where they begin in the file.
        length: Bytes; None where they are encapsulated.
        bits_allocated: 8, 16 or 32.
        bits_stored: How many of them count.
        signed: Two's complement.
        padding: Stored values from … to that mark pixels without data.
    """

    transfer_syntax: str
    little_endian: bool
    offset: int
    length: int | None
    bits_allocated: int
    bits_stored: int
    signed: bool
    padding: tuple[int, int] | None = None


@dataclass(frozen=True)
class Scaling:
    """True value = stored * slope + intercept, or a lookup table in the file."""

    slope: float = 1.0
    intercept: float = 0.0
    lookup: bool = False


@dataclass(frozen=True)
class Instance:
    """One file that holds planes of a volume."""

    path: Path
    file_bytes: int
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    patient_key: str
    modality: str
    rows: int
    columns: int
    frames: int
    multi_frame: bool
    layout: PixelLayout
    words: SequenceWords
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """One plane.

    Args:
        instance: The file.
        index: From 0 within the instance.
        position: Of the centre of the first pixel, in mm (LPS); None where the header gives none.
        orientation: Direction of a row and of a column, in LPS; None where the header gives none.
        pixel_spacing: Distance between rows, and between columns, in mm; None where the header gives none.
        scaling: Of its pixels.
        b_value: In s/mm²; None where nothing says that it is a diffusion image.
        echo_number: None where the header gives none.
        echo_time_ms: None where the header gives none.
        kinds: Words that say which quantity it shows, such as P for phase or ADC.
        discriminators: What may tell its volume from others of its series.
    """

    instance: Instance
    index: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    scaling: Scaling
    b_value: float | None = None
    echo_number: int | None = None
    echo_time_ms: float | None = None
    kinds: tuple[str, ...] = ()
    discriminators: Discriminators = field(default=Discriminators(), repr=False)
