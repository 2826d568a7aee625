"""Whether the engines of a bundle can be used: unchanged, of the TensorRT that is here, verified on the device here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cmc_sdk.bundle.admission import admit
from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import GraphPrecision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.bundle.trust import Trust
from cmc_sdk.errors import BackendError, InputError
from cmc_sdk.runtime.backends.tensorrt.build_key import differences
from cmc_sdk.runtime.backends.tensorrt.driver import Device, device_key, find_devices
from cmc_sdk.runtime.backends.tensorrt.engines import engine_graphs, engine_key
from cmc_sdk.runtime.backends.tensorrt.flavour import Flavour, find_flavours, load_flavour
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord, EngineStore, StoredFault

__all__ = ["CheckReport", "CheckRow", "check_engines"]


@dataclass(frozen=True)
class CheckRow:
    """One engine, stored or missing.

    Args:
        graph: Path in the bundle.
        target: Compute capabilities.
        flavour: With its version.
        state: `sound`: unchanged, and of the TensorRT that is here; `other`: unchanged, but not for what is here;
            `changed`: refused; `missing`: the device of this machine has none.
        note: Why, where it is not sound.
    """

    graph: str
    target: str
    flavour: str
    state: str
    note: str


@dataclass(frozen=True)
class CheckReport:
    """What was found; true if nothing was changed, and the device of this machine, if it has one, may run it all.

    Args:
        bundle: Its name and version.
        device: This machine's device and whether the bundle was verified on it, in words.
        rows: Every engine.
        faults: One line each.
    """

    bundle: str
    device: str
    rows: tuple[CheckRow, ...]
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {"sound": bool(self), **asdict(self)}


def check_engines(
    bundle: str | os.PathLike[str] | Bundle, *, state: str | os.PathLike[str], trust: Trust | None = None
) -> CheckReport:
    """Look at every engine of a bundle: read it whole, compare its hash, and hold its key against this machine.

    Args:
        bundle: The folder `NAME.cmc`, or a bundle that was opened with a policy.
        state: The state folder.
        trust: As for `Session`.

    Raises:
        TrustError: Nobody who is trusted vouches for the bundle.
        BundleError: The bundle is not what it says.
        InputError: The state folder is refused.
    """
    opened, _ = admit(bundle, trust=trust)
    flavours = [load_flavour(item.name) for item in find_flavours() if item.version is not None and not item.note]
    report = find_devices()
    device = report.devices[0] if report.devices else None
    with StateFolder(state) as folder:
        store = EngineStore(folder)
        stored = list(store.records())
        faults = [item.fault for item in stored if isinstance(item, StoredFault)]
        records = [item for item in stored if isinstance(item, EngineRecord)]
        rows: list[CheckRow] = []
        for precision in ("f32", "fp16"):
            if any(graph.precision == precision for graph in opened.manifest.graphs):
                for graph in engine_graphs(opened, precision):
                    rows += _rows(opened, graph, store=store, records=records, flavours=flavours, device=device)
        faults += [f"{row.graph} for {row.target}: {row.note}" for row in rows if row.state in ("changed", "missing")]
        words = report.note or "no NVIDIA device here"
        if device is not None:
            words = f"{device.name} ({device.capability}), driver {report.version or 'unknown'}"
            if not faults:
                faults += _unverified(opened, store=store, records=records, device=device)
            words += ": verified" if not faults else ": not verified"
    return CheckReport(f"{opened.manifest.name} {opened.manifest.version}", words, tuple(rows), tuple(faults))


def _rows(
    bundle: Bundle,
    graph: Graph,
    *,
    store: EngineStore,
    records: list[EngineRecord],
    flavours: list[Flavour],
    device: Device | None,
) -> Iterator[CheckRow]:
    sha256 = next(entry.sha256 for entry in bundle.manifest.files if entry.path == graph.path)
    ready = False
    for record in records:
        if (record.key.graph_sha256, record.key.precision) != (sha256, graph.precision):
            continue
        state, note = _judge(record, bundle, graph, store=store, flavours=flavours)
        ready |= state == "sound" and device is not None and device.capability in record.key.capabilities
        yield CheckRow(graph.path, record.key.targets, f"{record.key.flavour} {record.key.version}", state, note)
    if device is not None and not ready:
        yield CheckRow(graph.path, device.capability, "", "missing", "no engine for the device of this machine")


def _judge(
    record: EngineRecord, bundle: Bundle, graph: Graph, *, store: EngineStore, flavours: list[Flavour]
) -> tuple[str, str]:
    try:
        store.load(record)
    except InputError as error:
        return "changed", error.what
    same = [flavour for flavour in flavours if flavour.name == record.key.flavour]
    if not same:
        return "other", f"{record.key.flavour} is not installed here"
    wanted = engine_key(bundle, graph, flavour=same[0], capabilities=record.key.capabilities)
    return ("sound", "") if record.key == wanted else ("other", ", ".join(differences(wanted, record.key)))


def _unverified(bundle: Bundle, *, store: EngineStore, records: list[EngineRecord], device: Device) -> list[str]:
    """Why the device may not run the engines yet; nothing if it may run at least one precision of the bundle."""
    words = []
    known: tuple[GraphPrecision, ...] = ("f32", "fp16")
    for precision in known:
        if not any(graph.precision == precision for graph in bundle.manifest.graphs):
            continue
        engines = [
            record.sha256
            for record in records
            if record.key.precision == precision and device.capability in record.key.capabilities
        ]
        try:
            store.require_verified(
                manifest_sha256=bundle.manifest_sha256, precision=precision, engines=engines, device=device_key(device)
            )
        except BackendError as error:
            words.append(str(error))
        else:
            return []
    return words
