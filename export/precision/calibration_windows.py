"""Real windows to calibrate on: sampled and normalised as in use, and what every graph is given of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmc_sdk.bundle.manifest import Graph, ModelSpec
from cmc_sdk.errors import InputError
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.runtime.backends.base import Array, Backend
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.labelling.sampled_windows import sampled_windows
from cmc_sdk.runtime.planning.planner import plan_windows
from cmc_sdk.threads import usable_threads

__all__ = ["CalibrationWindow", "graph_inputs", "sample_windows"]


@dataclass(frozen=True)
class CalibrationWindow:
    """One place of the sliding window over one scan.

    Args:
        case: Whose.
        images: (X, Y, Z) f32, normalised, by modality: those that the case has, and that are slid together.
    """

    case: str
    images: Mapping[str, Array]

    @property
    def contrast(self) -> float:
        """Largest standard deviation among its images: 0 for air."""
        return max(float(image.std()) for image in self.images.values())


def sample_windows(cases: Sequence[ParityCase], *, spec: ModelSpec, count: int) -> list[CalibrationWindow]:
    """`count` windows for each modality, from the sliding windows of the scans: from nearly air to full of detail.

    They are taken at even steps of the order by contrast, the ends included: statistics of a normalisation are the most
    delicate where much of a window is one value. Windows of one value throughout are left out.

    Args:
        cases: Real scans.
        spec: Of the network.
        count: At least 1.

    Raises:
        InputError: A modality has no window that is not constant.
    """
    found = [window for case in cases for window in _windows_of(case, spec=spec)]
    chosen: list[CalibrationWindow] = []
    for name in spec.names:
        pool = sorted((w for w in found if name in w.images and w.images[name].std() > 0), key=lambda w: w.contrast)
        if not pool:
            raise InputError(
                f"no real window of {name} to calibrate on",
                mend="give scans of every modality (cases), or export in f32",
            )
        steps = np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int)
        taken = [pool[step] for step in dict.fromkeys(steps.tolist())]
        # Windows of registered scans serve all their modalities at once.
        chosen += [window for window in taken if not any(window is other for other in chosen)]
    return chosen


def _windows_of(case: ParityCase, *, spec: ModelSpec) -> Iterator[CalibrationWindow]:
    threads = Threads(usable_threads())
    present = tuple(name for name in spec.names if name in case.images)
    scans = case.scans(present, spec=spec)
    plan = plan_windows(scans, spec=spec, pairing=case.pairing, threads=threads.count)
    for images in sampled_windows(scans, plan=plan, spec=spec, threads=threads):
        yield CalibrationWindow(case.name, images)


def graph_inputs(
    windows: Sequence[CalibrationWindow], *, graph: Graph, spec: ModelSpec, reference: Backend
) -> Iterator[dict[str, Array]]:
    """What one graph is given for these windows: its inputs by name, a batch of one each.

    A decoder is given each window with every modality that it has, and with its own alone.

    Args:
        windows: From `sample_windows`.
        graph: Whose inputs.
        spec: Of the network.
        reference: Gives the features and skips.
    """
    for window in windows:
        if graph.modality not in window.images:
            continue
        given = {name: image[None, None] for name, image in window.images.items()}
        if graph.part == "encoder":
            yield {"window": given[graph.modality]}
            continue
        own = reference.encode(graph.modality, given[graph.modality])
        for present in dict.fromkeys((tuple(given), (graph.modality,))):
            features = {
                name: own["features"] if name == graph.modality else reference.encode(name, given[name])["features"]
                for name in present
            }
            inputs = {f"features_{name}": features.get(name, np.zeros_like(own["features"])) for name in spec.names}
            inputs |= {name: array for name, array in own.items() if name != "features"}
            inputs["presence"] = np.array([[float(name in present) for name in spec.names]], np.float32)
            inputs["window"] = given[graph.modality]
            yield {port.name: inputs[port.name] for port in graph.inputs}
