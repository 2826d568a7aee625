"""The end of a run: the best weights measured with every subset of modalities, the summary, the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lightning_fabric import Fabric

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.training.data import Case
from cmc_sdk.training.engine.config import TrainConfig
from cmc_sdk.training.engine.report import write_report
from cmc_sdk.training.engine.run_documents import SubsetRow, Summary
from cmc_sdk.training.engine.run_folder import RunPaths, write_json
from cmc_sdk.training.engine.summary import final_scores, gaps, seen_ranges, subset_scores
from cmc_sdk.training.engine.torch_backend import TorchBackend
from cmc_sdk.training.model import load_network
from cmc_sdk.version import __version__

__all__ = ["finish_run"]


def finish_run(
    paths: RunPaths,
    *,
    config: TrainConfig,
    spec: ModelSpec,
    cases: Sequence[Case],
    fabric: Fabric,
    best: Mapping[str, object],
    provenance: Mapping[str, object],
    seconds: float,
    progress: Progress,
) -> dict[str, float]:
    """Measure the best weights on all validation cases, and write `summary.json` and `report.html`.

    Args:
        paths: The run folder, with `best.safetensors`.
        config: The run's.
        spec: The run's.
        cases: The validation cases.
        fabric: Launched; every process measures its share, the first one writes.
        best: Step and Dice of the best validation.
        provenance: What the caller knows of the data; configuration, seed and code version are added.
        seconds: The run's time so far.
        progress: Called with (what, done, total).

    Returns:
        Fused-minus-alone Dice by modality.
    """
    fabric.barrier()
    network = load_network(paths.best).to(fabric.device)
    segmenter = Segmenter(spec, TorchBackend(network))
    found = final_scores(segmenter, cases, batch=config.validation.batch, fabric=fabric, progress=progress)
    gained = gaps(found, spec=spec)
    if fabric.is_global_zero:
        summary: Summary = {
            "validated_subsets": [
                SubsetRow(present=list(row.present), dice=row.dice, mean_dice=row.mean_dice, cases=row.cases)
                for row in subset_scores(found, spec=spec)
            ],
            "seen": {name: item.model_dump(mode="json") for name, item in seen_ranges(found, cases, spec=spec).items()},
            "fused_minus_alone": {name: value if math.isfinite(value) else None for name, value in gained.items()},
            "best": dict(best),
            "provenance": {
                **provenance,
                "method": config.method,
                "config": config.model_dump(mode="json"),
                "seed": config.seed,
                "code_version": __version__,
                "pretrained": config.model.pretrained is not None,
            },
            "seconds": round(seconds, 1),
        }
        write_json(paths.summary, summary)
        write_report(paths, config=config, summary=summary)
    fabric.barrier()
    return gained
