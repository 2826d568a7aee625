"""From a training run to a bundle: graphs, golden cases, gate, manifest; if the gate refuses, nothing is left."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cmc_sdk.bundle.manifest import Manifest, ModelSpec, SeenRange, SubsetScore
from cmc_sdk.bundle.precision import DEFAULT_LIMITS, GateLimits, Precision
from cmc_sdk.errors import BackendError, InputError, ParityError
from cmc_sdk.export.cases import real_cases
from cmc_sdk.export.draft import Draft, add_edition, f32_reference
from cmc_sdk.export.editions import Material
from cmc_sdk.export.editions_of import edition_of
from cmc_sdk.export.golden import golden_case
from cmc_sdk.export.graphs import export_graphs
from cmc_sdk.export.parity import ParityCase, ParityReport, measure_parity
from cmc_sdk.export.provenance import provenance_of
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.backends.catalogue import installed_backends
from cmc_sdk.runtime.gate.case import Answer
from cmc_sdk.runtime.gate.golden import INDEX_PATH, GoldenCase, GoldenRun, encode_volume, write_index
from cmc_sdk.training.data import load_datalist
from cmc_sdk.training.engine import Run, load_run
from cmc_sdk.training.engine.torch_backend import TorchBackend
from cmc_sdk.training.model import CMCNetwork
from cmc_sdk.version import __version__

__all__ = ["OnRefusal", "export_bundle", "export_network"]

OnRefusal = Callable[[Precision, ParityError], None]


def export_bundle(
    run: str | Path | Run,
    *,
    output: str | Path,
    name: str | None = None,
    version: str = "1",
    licence: str = "not stated",
    intended_use: str = "research only; not a medical device",
    min_overlap: float | None = None,
    precisions: Sequence[Precision] = (),
    cases: Sequence[ParityCase] | None = None,
    backends: Sequence[str] | None = None,
    on_refusal: OnRefusal | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Export the best checkpoint of a training run as a bundle that any machine can run.

    Args:
        run: The run folder, or the run that `load_run` gave.
        output: The bundle's folder, `NAME.cmc`; must not exist.
        name: The bundle's name; None for the folder's, without `.cmc`.
        version: Of the model, the user's own.
        licence: Under which the weights may be used.
        intended_use: What the model is for, in words.
        min_overlap: How far a deadline may lower the windows' overlap; None: not at all.
        precisions: Which editions the bundle is to hold beside f32, such as `fp16`.
        cases: Scans for the gate beside the synthetic one; None for validation cases of the run's data list.
        backends: Which the gate runs; None for every one that is installed.
        on_refusal: Called with each edition that breaks its limits; the bundle is then written without it. None: such
            an edition raises, and nothing is written. f32 always raises.
        progress: Called with (stage, done, total).

    Raises:
        InputError: `output` exists, or the run cannot be read.
        ParityError: The written graphs do not label as the network does; nothing is written.
        BackendError: No backend is installed to run the gate with.
        ResourceError: The disk is full.
    """
    _require_free(output)
    opened = run if isinstance(run, Run) else load_run(run)
    spec = opened.spec if min_overlap is None else _with_min_overlap(opened.spec, min_overlap)
    if cases is None:
        cases = real_cases(load_datalist(opened.datalist), spec=spec)
    return export_network(
        opened.network,
        spec=spec,
        output=output,
        name=name,
        version=version,
        licence=licence,
        intended_use=intended_use,
        cases=cases,
        validated_subsets=[SubsetScore.model_validate(item) for item in opened.summary.get("validated_subsets", ())],
        seen={key: SeenRange.model_validate(item) for key, item in opened.summary.get("seen", {}).items()},
        provenance=provenance_of(opened),
        precisions=precisions,
        backends=backends,
        on_refusal=on_refusal,
        progress=progress,
    )


def _with_min_overlap(spec: ModelSpec, min_overlap: float) -> ModelSpec:
    if not 0.0 <= min_overlap <= spec.grid.overlap:
        raise InputError(
            f"a least overlap of {min_overlap:g} is not possible",
            mend=f"give 0 to {spec.grid.overlap:g}, the overlap that the run was validated with",
        )
    return spec.model_copy(update={"grid": spec.grid.model_copy(update={"min_overlap": min_overlap})})


def export_network(
    network: CMCNetwork,
    *,
    spec: ModelSpec,
    output: str | Path,
    name: str | None = None,
    version: str = "1",
    licence: str = "not stated",
    intended_use: str = "research only; not a medical device",
    cases: Sequence[ParityCase] = (),
    validated_subsets: Sequence[SubsetScore] = (),
    seen: dict[str, SeenRange] | None = None,
    provenance: Mapping[str, object] | None = None,
    precisions: Sequence[Precision] = (),
    limits: GateLimits | None = None,
    backends: Sequence[str] | None = None,
    on_refusal: OnRefusal | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Export any `CMCNetwork`, trained here or not; what `export_bundle` does once it has read the run.

    Args:
        network: The network; `spec` must name its modalities, classes and window.
        spec: All that the sliding window needs to know of it.
        cases: Scans for the gate beside the synthetic one.
        validated_subsets: Validation Dice by subset of modalities.
        seen: What validation saw, by modality.
        provenance: Where the weights come from; the code's and torch's versions are added.
        precisions: Which editions the bundle is to hold beside f32.
        limits: Of the f32 gate; None for those of `DEFAULT_LIMITS`.

    Raises:
        As `export_bundle`.
    """
    _require_free(output)
    _require_fitting(network, spec)
    editions = [edition_of(precision) for precision in dict.fromkeys(precisions) if precision != "f32"]
    output = Path(output)
    limits = limits or DEFAULT_LIMITS["f32"]
    chosen = tuple(backends) if backends is not None else installed_backends()
    if not chosen:
        raise BackendError("no inference backend is installed to run the gate with", mend="pip install 'cmc-sdk[cpu]'")
    if progress is not None:
        progress("graphs", 0, 1)
    graphs = tuple(export_graphs(network))
    if progress is not None:
        progress("graphs", 1, 1)
    draft = Draft(
        fields={
            "name": name or output.name.removesuffix(".cmc"),
            "version": version,
            "licence": licence,
            "intended_use": intended_use,
            "spec": spec,
            "validated_subsets": tuple(validated_subsets),
            "seen": seen or {},
            "provenance": {
                **(provenance or {}),
                "exported_with": {"cmc-sdk": __version__, "torch": str(torch.__version__)},
            },
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = draft.with_edition("f32", graphs=graphs, limits=limits)
        candidates = trial.open(Path(folder) / "f32.cmc", backends=chosen, precision="f32")
        report, synthetic, golden = _gate_f32(
            network, spec=spec, candidates=candidates, cases=cases, limits=limits, progress=progress
        )
        report.require()
        draft = trial.passed("f32", backends=chosen, report=report.to_dict())
        for edition in editions:
            material = Material(spec, graphs, f32_reference(candidates), cases, synthetic, progress)
            try:
                draft = add_edition(edition, draft=draft, material=material, folder=Path(folder))
            except ParityError as error:
                if on_refusal is None:
                    raise
                on_refusal(edition.precision, error)
    return draft.write(output, extra=golden)


def _gate_f32(
    network: CMCNetwork,
    *,
    spec: ModelSpec,
    candidates: Mapping[str, Backend],
    cases: Sequence[ParityCase],
    limits: GateLimits,
    progress: Progress | None,
) -> tuple[ParityReport, ParityCase, dict[str, Path | bytes]]:
    """The gate's report, the synthetic case, and the golden files with what torch said of it."""
    reference = TorchBackend(network)
    synthetic = golden_case(spec, reference=reference)
    files: dict[str, Path | bytes] = {}
    runs: list[GoldenRun] = []

    def keep(case: ParityCase, present: tuple[str, ...], answer: Answer) -> None:
        if case is not synthetic:
            return
        folder = f"golden/{case.name}/run-{len(runs)}"
        kinds = {
            "labels": answer.labels,
            "confidence": answer.confidence,
            "undecided": {
                key: answer.labels[key].with_array(mask.astype(np.uint8))
                for key, mask in case.undecided[present].items()
            },
        }
        paths = {kind: {key: f"{folder}/{kind}_{key}.nii.gz" for key in present} for kind in kinds}
        for kind, volumes in kinds.items():
            files.update({paths[kind][key]: encode_volume(volume) for key, volume in volumes.items()})
        runs.append(GoldenRun(present=present, **paths))

    report = measure_parity(
        spec,
        reference=reference,
        candidates=candidates,
        cases=[*cases, synthetic],
        limits=limits,
        keep=keep,
        progress=progress,
    )
    images = {key: f"golden/{synthetic.name}/image_{key}.nii.gz" for key in synthetic.images}
    files.update({images[key]: encode_volume(volume) for key, volume in synthetic.images.items()})
    files[INDEX_PATH] = write_index((GoldenCase(name=synthetic.name, images=images, runs=tuple(runs)),))
    return report, synthetic, files


def _require_free(output: str | Path) -> None:
    path = Path(output)
    if path.exists():
        raise InputError(f"{path} exists already", mend="remove it or choose another name with -o")
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist", mend=f"create {path.parent} first")


def _require_fitting(network: CMCNetwork, spec: ModelSpec) -> None:
    """A spec that does not describe the network would give a bundle that cannot run."""
    given = {
        "modalities": (tuple(network.modalities), spec.names),
        "number of classes": (network.num_classes, spec.classes.num_classes),
        "window": (tuple(network.window_vox), tuple(spec.grid.window_vox)),
    }
    for what, (has, says) in given.items():
        if has != says:
            raise InputError(f"the network's {what} {has} is not the spec's {says}", mend="give the network's own spec")
