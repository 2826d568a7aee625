"""The manifest of a bundle: what the segmenter is, what it needs, and what has been measured of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cmc_sdk.bundle.precision import GateLimits, GatePass, GraphPrecision, Island, Precision, Tensor
from cmc_sdk.bundle.series_rule import SeriesRule
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.pairing import CasePairing
from cmc_sdk.strict_model import StrictModel

__all__ = [
    "SCHEMA_VERSION",
    "FileEntry",
    "Graph",
    "Grid",
    "IntensityRule",
    "Manifest",
    "ModalitySpec",
    "ModelSpec",
    "SeenRange",
    "SubsetScore",
]

SCHEMA_VERSION: Literal[1] = 1
PositiveTriple = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
SizeTriple = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]


class IntensityRule(StrictModel):
    """How raw voxel values become the network's input.

    Args:
        clip: Lower and upper bound in `unit`, applied before scaling; None for no clipping.
        scale: `zscore`: subtract the mean and divide by the standard deviation of this volume's (clipped) foreground;
            `unit_range`: map `clip` to [0, 1], which then must be given.
        unit: `HU` or `arbitrary`.
    """

    clip: tuple[float, float] | None = None
    scale: Literal["zscore", "unit_range"] = "zscore"
    unit: Literal["HU", "arbitrary"] = "arbitrary"

    @model_validator(mode="after")
    def _check(self) -> IntensityRule:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError("clip must be (lower, upper) with lower < upper")
        if self.scale == "unit_range" and self.clip is None:
            raise ValueError("scale: unit_range needs clip")
        return self


class ModalitySpec(StrictModel):
    """One input modality: the user's name for it, DICOM's word, its intensity rule, and which series it means.

    Args:
        name: The user's own.
        dicom_modality: DICOM's word; `OT` where it is not said.
        intensity: How voxel values become the network's input.
        series: Which series of a study it is; None: any of its DICOM modality.
    """

    name: Name
    dicom_modality: Literal["CT", "MR", "PT", "US", "OT"] = "OT"
    intensity: IntensityRule = IntensityRule()
    series: SeriesRule | None = None


class Grid(StrictModel):
    """The model grid.

    Args:
        spacing_mm: Spacing along its axes.
        window_vox: Size of a window.
        overlap: Share of a window that neighbours overlap; validation was done with it.
        min_overlap: The least overlap that a deadline may bring it down to; None: it never changes.
    """

    spacing_mm: PositiveTriple
    window_vox: SizeTriple
    overlap: Annotated[float, Field(ge=0.0, le=0.9)] = 0.5
    min_overlap: Annotated[float, Field(ge=0.0, le=0.9)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Grid:
        if self.min_overlap is not None and self.min_overlap > self.overlap:
            raise ValueError(f"min_overlap {self.min_overlap:g} is above overlap {self.overlap:g}")
        return self


class ModelSpec(StrictModel):
    """All that the sliding window needs to know of a segmenter, trained or exported.

    Args:
        modalities: In the network's order.
        reference_modality: Whose axes a pair in one frame of reference is sampled on.
        classes: Foreground classes; K = their number + 1.
        grid: The model grid.
        pairing: How the modalities of one case related in training.
    """

    modalities: Annotated[tuple[ModalitySpec, ...], Field(min_length=1)]
    reference_modality: Name
    classes: ClassTable
    grid: Grid
    pairing: CasePairing = "registered"

    @model_validator(mode="after")
    def _check_names(self) -> ModelSpec:
        if len(set(self.names)) != len(self.names):
            raise ValueError("modality names must differ")
        if self.reference_modality not in self.names:
            raise ValueError(f"reference_modality {self.reference_modality!r} is none of {list(self.names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in the network's order."""
        return tuple(item.name for item in self.modalities)

    def modality(self, name: str) -> ModalitySpec:
        """The modality called `name`; KeyError if there is none."""
        return {item.name: item for item in self.modalities}[name]


class CalibratedRange(StrictModel):
    """The normalised windows that a graph in 8 bits was calibrated on; any other window is computed in FP32.

    Args:
        lowest: Least value of a voxel.
        highest: Greatest value of a voxel.
        least_deviation: Least standard deviation of a window.
    """

    lowest: float
    highest: float
    least_deviation: float


class Graph(StrictModel):
    """One graph: `part` is encoder or decoder of `modality`.

    Args:
        path: The ONNX file with its weights; of `int8-openvino` the XML file of OpenVINO's own format.
        weights: The file that holds the weights of an `int8-openvino` graph; None for ONNX, which holds its own.
        opset: Of ONNX; of an `int8-openvino` graph the version of OpenVINO's format.
        islands: Of a mixed-precision graph: what stays in FP32. Inputs and outputs are float32 in every precision.
        calibrated: Of an `int8-openvino` graph: the windows that it is for; None: for all.
    """

    path: str
    part: Literal["encoder", "decoder"]
    modality: Name
    precision: GraphPrecision
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    islands: tuple[Island, ...] = ()
    weights: str | None = None
    calibrated: CalibratedRange | None = None

    @model_validator(mode="after")
    def _check_weights(self) -> Graph:
        if (self.weights is not None) is not (self.precision == "int8-openvino"):
            raise ValueError(f"{self.path}: an int8-openvino graph has a file of weights, and no other graph has")
        return self


class SubsetScore(StrictModel):
    """Validation Dice of one subset of modalities: mean over cases, by modality and by class name."""

    present: tuple[Name, ...]
    dice: dict[str, dict[str, float | None]]
    mean_dice: float | None
    cases: int


class SeenRange(StrictModel):
    """What validation saw of one modality, for the quality flag.

    Args:
        intensity: 1st and 99th percentile bounds over the cases' foreground means, in the file's unit.
        spacing_mm: Smallest and largest spacing over cases and axes.
        extent_mm: Smallest and largest field of view over cases, per axis min and max.
        volumes_ml: Per class name, smallest and largest volume over the cases where it is present.
        confidence: Smallest and largest mean foreground confidence over cases.
        components: Per class name, the largest number of connected pieces over cases, in the reference labels.
    """

    intensity: tuple[float, float] | None = None
    spacing_mm: tuple[float, float] | None = None
    extent_mm: tuple[float, float] | None = None
    volumes_ml: dict[str, tuple[float, float]] = Field(default_factory=dict)
    confidence: tuple[float, float] | None = None
    components: dict[str, int] = Field(default_factory=dict)


class FileEntry(StrictModel):
    """A file of the bundle: path relative to the bundle with forward slashes, size in bytes, sha256 in hex."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(StrictModel):
    """`manifest.json` of a bundle.

    Args:
        gate: Limits of parity by precision; a precision that is not listed is not for use.
        passed: Backends and precisions that kept them when the bundle was made.
    """

    schema_version: Literal[1]
    name: str
    version: str
    licence: str
    intended_use: str
    spec: ModelSpec
    graphs: tuple[Graph, ...]
    gate: dict[Precision, GateLimits]
    passed: tuple[GatePass, ...] = ()
    validated_subsets: tuple[SubsetScore, ...] = ()
    seen: dict[str, SeenRange] = Field(default_factory=dict)
    provenance: dict[str, Any]
    files: tuple[FileEntry, ...]

    @model_validator(mode="after")
    def _check_graphs(self) -> Manifest:
        listed = {entry.path for entry in self.files}
        parts: dict[tuple[str, str, str], str] = {}
        for graph in self.graphs:
            key = (graph.precision, graph.modality, graph.part)
            if graph.modality not in self.spec.names:
                raise ValueError(f"graph {graph.path} is of {graph.modality!r}, none of {list(self.spec.names)}")
            for path in (graph.path, graph.weights):
                if path is not None and path not in listed:
                    raise ValueError(f"graph {path} is not among the files")
            if key in parts:
                raise ValueError(
                    f"{parts[key]} and {graph.path} are both the {graph.precision} {graph.part} of {key[1]}"
                )
            parts[key] = graph.path
        for precision in {graph.precision for graph in self.graphs} or {"f32"}:
            for modality in self.spec.names:
                for part in ("encoder", "decoder"):
                    if (precision, modality, part) not in parts:
                        raise ValueError(f"the {precision} {part} of {modality} is missing among the graphs")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Manifest:
        named = {*self.seen, *(name for score in self.validated_subsets for name in (*score.present, *score.dice))}
        for name in sorted(named - set(self.spec.names)):
            raise ValueError(f"{name!r} is none of the modalities {list(self.spec.names)}")
        return self
