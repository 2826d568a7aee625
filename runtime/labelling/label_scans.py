"""The door of this room: prepared scans and a plan in, labels out.

Who may call it: `cmc_sdk.runtime.segmenter` calls `label_scans`, and everybody else labels through a `Segmenter`;
`cmc_sdk.runtime.benchmark` calls `window_logits`. Planning shares this room's queue and runner, since what it measures
has to run as a run does. What else stands in the room is nobody's business but its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Array, Backend
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.labelling.label_group import label_group
from cmc_sdk.runtime.labelling.runner import StageSeconds, WindowRunner
from cmc_sdk.runtime.labelling.window_plan import WindowPlan
from cmc_sdk.runtime.results.labelled import Labelled
from cmc_sdk.runtime.scans.prepared import PreparedScan, refuse_not_finite

__all__ = ["StageSeconds", "label_scans", "window_logits"]


def label_scans(
    scans: Mapping[str, PreparedScan],
    *,
    plan: WindowPlan,
    spec: ModelSpec,
    backend: Backend,
    threads: Threads,
    stages: StageSeconds,
    checkpoint: Callable[[], None],
    progress: Progress | None = None,
) -> dict[str, Labelled]:
    """Label every scan on its own grid, one group of the plan after another.

    Args:
        scans: By modality.
        plan: For these scans; the backend is ready for its streams.
        spec: Of the network.
        backend: Runs it.
        threads: For all that is not the network.
        stages: Gets the seconds, and the numbers of windows.
        checkpoint: Called before each window; ends the run by raising.
        progress: Called with ("windows", done, total), over all groups.

    Raises:
        DataError: A voxel is not finite; nothing was run.
        BackendError: The network gave logits of another shape, or a value that is not finite.
    """
    refuse_not_finite(scans)
    labelled: dict[str, Labelled] = {}
    before = 0
    for group in plan.groups:

        def report(done: int, before: int = before) -> None:
            if progress is not None:
                progress("windows", before + done, plan.windows)

        labelled |= label_group(
            group,
            scans=scans,
            spec=spec,
            backend=backend,
            batch=plan.batch,
            streams=plan.streams,
            threads=threads,
            stages=stages,
            progress=report,
            checkpoint=checkpoint,
        )
        before += len(group.starts)
    return labelled


def window_logits(
    windows: Sequence[Mapping[str, Array]], *, backend: Backend, spec: ModelSpec, present: Sequence[str]
) -> dict[str, Array]:
    """Logits (B, K, X, Y, Z) of every present modality for a batch of windows, as `label_scans` asks for them.

    Args:
        windows: (X, Y, Z) f32, normalised, by modality.
        backend: Runs the network.
        spec: Of the network.
        present: Modalities that every window has; the others are absent.

    Raises:
        BackendError: Logits of another shape, or not finite.
    """
    return WindowRunner(backend, spec=spec, present=present).run(windows)
