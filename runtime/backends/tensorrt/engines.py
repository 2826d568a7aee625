"""The engines of a bundle: build those that are wanted and not there yet, list them, check them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cmc_sdk.bundle.admission import admit
from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import GraphPrecision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.bundle.trust import Trust
from cmc_sdk.errors import BackendError, BundleError, CmcError
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import BATCHES
from cmc_sdk.runtime.backends.tensorrt.build_key import BuildKey, FlavourName, batch_profiles
from cmc_sdk.runtime.backends.tensorrt.builder import BuildJob, build_engine
from cmc_sdk.runtime.backends.tensorrt.driver import require_device
from cmc_sdk.runtime.backends.tensorrt.flavour import Flavour, choose_flavour, load_flavour
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord, EngineStore, StoredFault

__all__ = ["BuildReport", "EngineBuild", "build_engines", "engine_graphs", "engine_key", "list_engines"]

EnginePrecision = Literal["f32", "fp16"]


@dataclass(frozen=True)
class EngineBuild:
    """What became of one engine.

    Args:
        key: What was wanted.
        graph: Path of the graph.
        record: The engine; None where it could not be built.
        reused: Whether it was there already.
        fault: Why it could not be built.
    """

    key: BuildKey
    graph: str
    record: EngineRecord | None
    reused: bool
    fault: CmcError | None


@dataclass(frozen=True)
class BuildReport:
    """All engines that were asked for; true if every one is there."""

    bundle: str
    builds: tuple[EngineBuild, ...]

    def __bool__(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[str]:
        """One line for each engine that could not be built."""
        return [str(item.fault) for item in self.builds if item.fault]

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "built": bool(self),
            "bundle": self.bundle,
            "engines": [
                {
                    "graph": item.graph,
                    "key": item.key.model_dump(mode="json"),
                    "digest": item.key.digest,
                    "reused": item.reused,
                    "fault": None if item.fault is None else str(item.fault),
                    "record": None if item.record is None else item.record.model_dump(mode="json", exclude={"key"}),
                }
                for item in self.builds
            ],
        }


def build_engines(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    state: str | os.PathLike[str],
    trust: Trust | None = None,
    targets: Sequence[str] = (),
    precisions: Sequence[EnginePrecision] | None = None,
    flavour: FlavourName | Literal["auto"] = "auto",
    workspace_bytes: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Build every engine of a bundle that is not in the state folder yet.

    Args:
        bundle: The folder `NAME.cmc`, or a bundle that was opened with a policy.
        state: The state folder; made where it does not exist.
        trust: As for `Session`: whoever's graphs are compiled here run here later.
        targets: Compute capabilities such as `sm86`, built with TensorRT-RTX on any machine; empty: for the device of
            this machine, in place.
        precisions: Of the graphs; None for every one that the bundle has and engines can compute.
        flavour: Which TensorRT; `auto` takes `tensorrt` in place where it is installed, else `tensorrt_rtx`.
        workspace_bytes: Most device memory that a layer may take beside its tensors; None: the library's choice.
        progress: Called with ("engines", done, total).

    Returns:
        What became of each; one that is refused does not keep the others from being built.

    Raises:
        TrustError: Nobody who is trusted vouches for the bundle.
        BundleError: The bundle is not what it says, or has no graphs of that precision.
        BackendError: No TensorRT that could do it, or no device to build for.
        InputError: A target that this TensorRT does not know, or a state folder that is refused.
    """
    opened, _ = admit(bundle, trust=trust)
    chosen = load_flavour(choose_flavour(ahead_of_time=bool(targets), wanted=flavour))
    for target in targets:
        chosen.require_target(target)
    groups = _groups(targets) or [(_own_capability(chosen),)]
    graphs = [graph for precision in _precisions(opened, precisions) for graph in engine_graphs(opened, precision)]
    builds: list[EngineBuild] = []
    with StateFolder(state, create=True) as folder:
        store = EngineStore(folder)
        for graph in graphs:
            jobs = [
                BuildJob(
                    key=engine_key(opened, graph, flavour=chosen, capabilities=group),
                    graph=graph,
                    bundle=f"{opened.manifest.name} {opened.manifest.version}",
                    in_place=not targets,
                    workspace_bytes=workspace_bytes,
                )
                for group in groups
            ]
            for item in _build_graph(opened, jobs, store=store):
                builds.append(item)
                if progress is not None:
                    progress("engines", len(builds), len(graphs) * len(groups))
    return BuildReport(f"{opened.manifest.name} {opened.manifest.version}", tuple(builds))


def list_engines(state: str | os.PathLike[str]) -> list[EngineRecord | StoredFault]:
    """Every engine of a state folder, or what is wrong with it.

    Raises:
        InputError: The folder is refused.
    """
    with StateFolder(state) as folder:
        found = list(EngineStore(folder).records())
    return sorted(found, key=lambda item: (item.name,) if isinstance(item, StoredFault) else _order(item))


def _order(record: EngineRecord) -> tuple[str, ...]:
    return (record.bundle, record.graph, record.key.flavour, record.key.version, record.key.targets)


def engine_graphs(bundle: Bundle, precision: GraphPrecision) -> list[Graph]:
    """The bundle's graphs in one precision.

    Raises:
        BundleError: It has none.
    """
    graphs = [graph for graph in bundle.manifest.graphs if graph.precision == precision]
    if not graphs:
        has = ", ".join(sorted({graph.precision for graph in bundle.manifest.graphs}))
        raise BundleError(
            f"{bundle.path} has no {precision} graphs, only {has}",
            mend="export it with --fp16" if precision == "fp16" else "choose another --precision",
        )
    return graphs


def engine_key(bundle: Bundle, graph: Graph, *, flavour: Flavour, capabilities: Sequence[str]) -> BuildKey:
    """The key of the engine of a graph for a device, or for several."""
    (sha256,) = (entry.sha256 for entry in bundle.manifest.files if entry.path == graph.path)
    return BuildKey(
        flavour=flavour.name,
        version=flavour.version,
        capabilities=tuple(sorted(set(capabilities), key=lambda name: int(name[2:]))),
        graph_sha256=sha256,
        precision=graph.precision,
        profiles=batch_profiles(BATCHES, flavour=flavour.name),
    )


def _build_graph(bundle: Bundle, jobs: Sequence[BuildJob], *, store: EngineStore) -> Iterator[EngineBuild]:
    """One graph for several groups of devices; it is read once, and only if one of its engines is not there."""
    data: bytes | None = None
    for job in jobs:
        found = store.find(job.key)
        if found is not None:
            yield EngineBuild(job.key, job.graph.path, found, True, None)
            continue
        data = bundle.read(job.graph.path) if data is None else data
        try:
            record = build_engine(job, data=data, store=store)
        except (BackendError, BundleError) as fault:
            yield EngineBuild(job.key, job.graph.path, None, False, fault)
        else:
            yield EngineBuild(job.key, job.graph.path, record, False, None)


def _precisions(bundle: Bundle, wanted: Sequence[EnginePrecision] | None) -> list[GraphPrecision]:
    if wanted is not None:
        return list(dict.fromkeys(wanted))
    known: tuple[GraphPrecision, ...] = ("f32", "fp16")
    return [item for item in known if any(graph.precision == item for graph in bundle.manifest.graphs)]


def _groups(targets: Sequence[str]) -> list[tuple[str, ...]]:
    """Which devices share an engine: TensorRT-RTX makes one for many in the time of one, but SM 75 refuses what the
    others take, and must not take them with it.
    """
    unique = tuple(dict.fromkeys(targets))
    groups = (tuple(item for item in unique if (item == "sm75") is old) for old in (False, True))
    return [group for group in groups if group]


def _own_capability(flavour: Flavour) -> str:
    """Of this machine's first device."""
    try:
        device = require_device()
    except BackendError as error:
        raise BackendError(
            f"an engine for this machine cannot be built: {error.what}",
            mend="give --target sm86 (or another) to build for a device elsewhere with TensorRT-RTX",
        ) from error
    if flavour.targets:
        flavour.require_target(device.capability)
    return device.capability
