"""Which delicate parts of a graph must stay FP32: measured on real windows, one part after the other.

Every figure is of the graph with its FP16 tensors really rounded (`rounded`), against the same graph in f32. A part
stays FP32 for one of four reasons:

    not finite      in FP16 an output holds NaN or infinity
    range           a value in it comes within `MARGIN` of FP16's largest, 65504: another scan may pass it
    constant        a number that it computes with (an epsilon) is inexact or zero in FP16
    difference      in FP16 the graph's outputs lie clearly farther from f32 than without it

What has none of them is converted, and reported. Last, all parts that were found not to matter are converted together:
if they matter together, the one with the largest difference goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from cmc_sdk.bundle.precision import Island
from cmc_sdk.errors import ParityError
from cmc_sdk.export.precision.islands import Candidate, IslandKind, find_candidates
from cmc_sdk.export.precision.mixed import FP16_LARGEST, Mixed, to_mixed
from cmc_sdk.export.precision.rounded import to_rounded
from cmc_sdk.export.precision.sessions import GraphRun, with_ranges
from cmc_sdk.export.precision.view import GraphView, hoist_constants
from cmc_sdk.runtime.backends.base import Array

__all__ = ["MARGIN", "Calibrated", "Judgement", "calibrate"]

MARGIN = 8.0
"""A part whose values come within this factor of FP16's largest stays FP32."""

RISE = 1.5
"""Root mean square difference from f32, as a multiple of the best graph's, from which a part matters."""

PEAK = 2.0
"""The same of the largest difference: it is one value's, and shakes more."""

ROUNDING = 2.0**-11
"""What rounding an output to FP16 does to it: differences of less never matter."""


@dataclass(frozen=True)
class Difference:
    """How far each output of a graph lies from f32.

    Args:
        finite: Whether no output held NaN or infinity.
        peak: By output, largest absolute difference over largest absolute value.
        rms: By output, root mean square of the differences over that of the values.
    """

    finite: bool
    peak: Mapping[str, float]
    rms: Mapping[str, float]

    @property
    def figure(self) -> float | None:
        """The largest peak; None: not finite."""
        return max(self.peak.values()) if self.finite else None

    def exceeds(self, best: Difference) -> str | None:
        """The output that is clearly worse than in `best`, with its figures; None: there is none."""
        if not (self.finite and best.finite):
            return "outputs are not finite" if best.finite else None
        worse = [
            name
            for name, peak in self.peak.items()
            if (
                peak > max(PEAK * best.peak[name], 2 * ROUNDING)
                or self.rms[name] > max(RISE * best.rms[name], ROUNDING)
            )
        ]
        if not worse:
            return None
        name = max(worse, key=lambda name: self.rms[name] / max(best.rms[name], 1e-30))
        return (
            f"{name} differs from f32 by {self.rms[name]:.2e} (root mean square; at most {self.peak[name]:.2e}), "
            f"with it in FP32 by {best.rms[name]:.2e} ({best.peak[name]:.2e})"
        )


@dataclass(frozen=True)
class Judgement:
    """What was measured of one delicate part.

    Args:
        kind: Which part.
        nodes: How many nodes it has.
        difference: Of the graph's outputs with this part in FP16; None: not finite.
        largest: Largest absolute value in it, in f32.
        where: The tensor that holds it.
        kept: Whether it stays FP32.
        reason: Why, in words with the figure.
    """

    kind: IslandKind
    nodes: int
    difference: float | None
    largest: float
    where: str
    kept: bool
    reason: str


@dataclass(frozen=True)
class Calibrated:
    """A mixed-precision graph and what was measured on the way to it.

    Args:
        model: The graph.
        islands: What stays FP32.
        judgements: Of every delicate part.
        difference: Of the graph's outputs, relative to their largest value.
        largest: Largest absolute value among the tensors that are FP16 now.
        where: The tensor that holds it.
        flushed: Weights that became zero.
        windows: How many inputs it was measured on.
    """

    model: onnx.ModelProto
    islands: tuple[Island, ...]
    judgements: tuple[Judgement, ...]
    difference: float
    largest: float
    where: str
    flushed: int
    windows: int

    def to_dict(self) -> dict[str, object]:
        """The figures, for JSON."""
        return {
            "difference": self.difference,
            "largest_fp16_value": self.largest,
            "largest_fp16_tensor": self.where,
            "weights_flushed_to_zero": self.flushed,
            "inputs": self.windows,
            "parts": [
                {
                    "kind": item.kind,
                    "nodes": item.nodes,
                    "kept_fp32": item.kept,
                    "difference_in_fp16": item.difference,
                    "largest_value": item.largest,
                    "largest_tensor": item.where,
                    "reason": item.reason,
                }
                for item in self.judgements
            ],
        }


def calibrate(
    content: bytes, *, name: str, inputs: Sequence[Mapping[str, Array]], step: Callable[[], None] | None = None
) -> Calibrated:
    """Decide what of an f32 graph stays FP32, and convert the rest.

    Args:
        content: The f32 graph.
        name: For messages.
        inputs: What it is given for real windows.
        step: Called after each measurement.

    Raises:
        ParityError: FP16 cannot hold a weight, or a value outside of the delicate parts.
        BundleError: A delicate op is not known.
    """
    return _Calibration(content, name=name, inputs=inputs, step=step or (lambda: None)).run()


class _Calibration:
    def __init__(
        self, content: bytes, *, name: str, inputs: Sequence[Mapping[str, Array]], step: Callable[[], None]
    ) -> None:
        self._name, self._inputs, self._step = name, inputs, step
        self._model = onnx.load_model_from_string(content)
        hoist_constants(self._model)
        self._view = GraphView(self._model, name=name)
        self._candidates = {candidate.kind: candidate for candidate in find_candidates(self._view)}
        self._expected, self._ranges = self._in_f32()

    def run(self) -> Calibrated:
        best, _ = self._measure(self._candidates.values())
        judged = {kind: self._judge(candidate, best=best) for kind, candidate in self._candidates.items()}
        while True:
            chosen = [self._candidates[kind] for kind, item in judged.items() if item.kept]
            difference, mixed = self._measure(chosen)
            dropped = [item for item in judged.values() if not item.kept]
            harm = difference.exceeds(best)
            if not dropped or harm is None:
                break
            worst = max(dropped, key=lambda item: item.difference or 0.0)
            judged[worst.kind] = replace(worst, kept=True, reason=f"in FP16 with others that alone do no harm: {harm}")
        self._refuse_overflow(chosen, mixed=mixed, difference=difference)
        largest, where = self._largest(self._outside(chosen))
        assert difference.figure is not None
        return Calibrated(
            model=mixed.model,
            islands=tuple(
                Island(kind=item.kind, nodes=self._candidates[item.kind].nodes, reason=item.reason,
                       difference=item.difference)
                for item in judged.values()
                if item.kept
            ),
            judgements=tuple(judged.values()),
            difference=difference.figure,
            largest=largest,
            where=where,
            flushed=mixed.flushed,
            windows=len(self._inputs),
        )  # fmt: skip

    def _in_f32(self) -> tuple[list[dict[str, Array]], dict[str, float]]:
        """The outputs for every input, and the largest absolute value of every tensor over all of them."""
        watched = GraphRun(with_ranges(self._model, name=self._name), name=self._name)
        outputs, ranges = [], dict[str, float]()
        for inputs in self._inputs:
            found = watched.run(inputs)
            outputs.append({name: found[name] for name in self._view.outputs})
            for name, value in found.items():
                if name.startswith("largest/"):
                    tensor = name.removeprefix("largest/")
                    ranges[tensor] = max(ranges.get(tensor, 0.0), float(value))
        self._step()
        return outputs, ranges

    def _measure(self, chosen: Iterable[Candidate]) -> tuple[Difference, Mixed]:
        """How far the graph with these parts in FP32 and all else in FP16 lies from f32."""
        names = {node for candidate in chosen for node in candidate.nodes}
        mixed = to_mixed(self._model, islands=names, name=self._name)
        run = GraphRun(to_rounded(mixed.model, name=self._name), name=self._name)
        peak, highest = dict[str, float](), dict[str, float]()
        square, energy = dict[str, float](), dict[str, float]()
        finite = True
        for inputs, expected in zip(self._inputs, self._expected, strict=True):
            for name, array in run.run(inputs).items():
                finite &= bool(np.isfinite(array).all())
                if finite:
                    apart = np.abs(array - expected[name])
                    peak[name] = max(peak.get(name, 0.0), float(apart.max()))
                    highest[name] = max(highest.get(name, 1e-30), float(np.abs(expected[name]).max()))
                    square[name] = square.get(name, 0.0) + float(np.square(apart, dtype=np.float64).sum())
                    energy[name] = energy.get(name, 1e-30) + float(np.square(expected[name], dtype=np.float64).sum())
        self._step()
        peaks = {name: value / highest[name] for name, value in peak.items()}
        rms = {name: (value / energy[name]) ** 0.5 for name, value in square.items()}
        return Difference(finite, peaks, rms), mixed

    def _judge(self, candidate: Candidate, *, best: Difference) -> Judgement:
        others = [item for item in self._candidates.values() if item.kind != candidate.kind]
        difference, mixed = self._measure(others)
        largest, where = self._largest(candidate.nodes)
        faint = {value: number for value, number in mixed.faint.items() if value.split(" of ")[-1] in candidate.nodes}
        harm = difference.exceeds(best)
        kept = True
        if largest * MARGIN > FP16_LARGEST:
            reason = f"values up to {largest:.4g} ({where}), where FP16 ends at 65504"
        elif faint:
            value, number = next(iter(faint.items()))
            reason = f"{number:.3g} ({value}) is {np.float16(number):.3g} in FP16, or 0 where such numbers are flushed"
        elif harm is not None:
            reason = f"in FP16 {harm}"
        else:
            kept = False
            reason = f"in FP16 outputs differ from f32 by {difference.figure:.2e}, with it in FP32 by {best.figure:.2e}"
        return Judgement(candidate.kind, len(candidate.nodes), difference.figure, largest, where, kept, reason)

    def _largest(self, nodes: Iterable[str]) -> tuple[float, str]:
        """The largest absolute value that these nodes make, and the tensor."""
        known = [(self._ranges.get(value, 0.0), node) for node in nodes for value in self._view.nodes[node].output]
        return max(known, default=(0.0, "nothing"))

    def _outside(self, chosen: Iterable[Candidate]) -> list[str]:
        inside = {node for candidate in chosen for node in candidate.nodes}
        return [node for node in self._view.nodes if node not in inside]

    def _refuse_overflow(self, chosen: Sequence[Candidate], *, mixed: Mixed, difference: Difference) -> None:
        faults = [f"{value} reaches {number:.4g}" for value, number in mixed.overflowing.items()]
        largest, where = self._largest(self._outside(chosen))
        if largest > FP16_LARGEST:
            faults.append(f"{where} reaches {largest:.4g}")
        if faults:
            raise ParityError(
                f"{self._name}: FP16 ends at 65504, and {faults[0]}, outside of the parts that may stay FP32",
                mend="export without --fp16",
            )
        if not difference.finite:
            raise ParityError(
                f"{self._name}: in FP16 outputs are not finite on real windows, with every delicate part in FP32",
                mend="export without --fp16",
            )
