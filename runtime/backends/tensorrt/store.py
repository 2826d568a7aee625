"""Engines and verdicts in a state folder: each with its key, each under the folder's HMAC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from cmc_sdk.bundle.strict_json import parse_json
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.runtime.backends.tensorrt.build_key import BuildKey, DeviceKey, differences
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.strict_model import StrictModel

__all__ = ["EngineRecord", "EngineStore", "StoredFault", "VerifiedRecord"]

_RECORD_LIMIT = 1 << 20
_ENGINE_LIMIT = 16 << 30
_CACHE_LIMIT = 1 << 30
_AGAIN = "remove the state folder and build the engines again"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Record = TypeVar("Record", "EngineRecord", "VerifiedRecord")


class EngineRecord(StrictModel):
    """One engine of the folder.

    Args:
        key: What it was built from.
        graph: Path of the graph in its bundle, for people.
        bundle: Name and version of that bundle, for people.
        size: Of the engine, in bytes.
        sha256: Of the engine.
        built: UTC time, ISO 8601.
        seconds: That the build took, in its own process, start included.
        peak_bytes: Largest resident memory of that process; None where the system does not say.
        half_nodes: ONNX nodes of those convolutions and products that must be FP16, for the inspector.
        half_layers: Layers of the parsed network that compute in FP16.
        float_layers: Layers of the parsed network that compute in FP32.
        inspected_layers: Layers of the engine whose types were read back on the device; None: built for another one.
    """

    schema_version: Literal[1] = 1
    key: BuildKey
    graph: str
    bundle: str
    size: Annotated[int, Field(ge=1, le=_ENGINE_LIMIT)]
    sha256: Sha256
    built: str
    seconds: float
    peak_bytes: int | None
    half_nodes: tuple[str, ...]
    half_layers: int
    float_layers: int
    inspected_layers: int | None = None


class VerifiedRecord(StrictModel):
    """`cmc verify` passed: this bundle, these engines, this device.

    Args:
        manifest_sha256: Of the bundle's manifest.
        precision: That was verified.
        engines: sha256 of every engine that took part, sorted.
        device: Where.
        when: UTC time, ISO 8601.
    """

    schema_version: Literal[1] = 1
    manifest_sha256: Sha256
    precision: str
    engines: tuple[Sha256, ...]
    device: DeviceKey
    when: str


@dataclass(frozen=True)
class StoredFault:
    """A file of the folder that cannot be used, and why."""

    name: str
    fault: str


class EngineStore:
    """Engines by their build key.

    Args:
        folder: Open; closed by whoever opened it.
    """

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder

    def put(self, record: EngineRecord, engine: bytes) -> None:
        """Keep an engine; one of the same key is replaced.

        Raises:
            InputError: The record is not of this engine.
            ResourceError: The disk is full.
        """
        if len(engine) != record.size or hashlib.sha256(engine).hexdigest() != record.sha256:
            raise InputError("the record is not of this engine", mend="give the record that its build gave")
        name = record.key.digest
        with self.folder.lock():
            # Without its record an engine is nothing: a crash in between leaves no wrong pair behind.
            self.folder.remove(f"{name}.json")
            with self.folder.write(f"{name}.engine") as handle:
                handle.write(engine)
            self._write_record(f"{name}.json", "cmc-engine-v1", record)

    def find(self, key: BuildKey) -> EngineRecord | None:
        """The record of an engine that serves that key; None if there is none.

        Raises:
            InputError: A record of this folder was changed by somebody else than this store.
        """
        return next((record for record in self._sound_records() if record.key.covers(key)), None)

    def load(self, record: EngineRecord) -> bytes:
        """The engine of a record, read once: what was checked is what is returned.

        Raises:
            InputError: It is missing or was changed.
        """
        name = f"{record.key.digest}.engine"
        try:
            engine = self.folder.read(name, limit=record.size)
        except FileNotFoundError:
            raise InputError(f"{self.folder.path / name} is missing", mend=_AGAIN) from None
        if len(engine) != record.size or hashlib.sha256(engine).hexdigest() != record.sha256:
            raise self._tampered(name, "it is not the engine that was built")
        return engine

    def records(self) -> Iterator[EngineRecord | StoredFault]:
        """Every engine's record, or what is wrong with it, by name."""
        for name in self.folder.names(suffix=".json"):
            if name.startswith("verified-"):
                continue
            try:
                record = self._read_record(name, "cmc-engine-v1", EngineRecord)
                if record is not None and f"{record.key.digest}.json" != name:
                    raise self._tampered(name, "its key is not that of its name")
            except InputError as error:
                yield StoredFault(name, error.what)
                continue
            if record is not None:
                yield record

    def nearest(self, key: BuildKey) -> list[str]:
        """For messages: how the wanted key differs from that of the stored engine of the same graph nearest to it."""
        found = [
            differences(key, record.key)
            for record in self._sound_records()
            if (record.key.graph_sha256, record.key.precision) == (key.graph_sha256, key.precision)
        ]
        return min(found, key=len, default=[])

    def keep_verified(self, record: VerifiedRecord) -> None:
        """Note that `cmc verify` passed; an earlier word on the same bundle, precision and device is replaced."""
        with self.folder.lock():
            self._write_record(_verified_name(record), "cmc-verified-v1", record)

    def require_verified(self, *, manifest_sha256: str, precision: str, engines: list[str], device: DeviceKey) -> None:
        """Return if `cmc verify` passed for this very bundle, with these very engines, on this very device.

        Raises:
            BackendError: It did not: says what changed.
            InputError: The word was changed by somebody else than this store.
        """
        verdicts = []
        for name in self.folder.names(suffix=".json"):
            if name.startswith("verified-"):
                verdict = self._read_record(name, "cmc-verified-v1", VerifiedRecord)
                if verdict is not None and (verdict.manifest_sha256, verdict.precision) == (manifest_sha256, precision):
                    verdicts.append(verdict)
        for verdict in verdicts:
            if verdict.device == device and set(engines) <= set(verdict.engines):
                return
        changes = min((differences(device, verdict.device) for verdict in verdicts), key=len, default=None)
        if changes is None:
            why = "it has not been verified on any device"
        elif changes:
            why = f"it was verified on another device: {', '.join(changes)}"
        else:
            why = "its engines were built after it was verified"
        raise BackendError(
            f"the engines of this bundle in {self.folder.path} may not run yet: {why}",
            mend=f"run `cmc verify BUNDLE --state {self.folder.path}`",
        )

    def timing_cache(self, name: str) -> bytes:
        """The builder's notes of an earlier build, empty where there are none or where they were changed."""
        try:
            data = self.folder.read(f"{name}.timing", limit=_CACHE_LIMIT)
        except (FileNotFoundError, InputError):
            return b""
        mac, _, notes = data.partition(b"\n")
        good = self.folder.same_mac(mac.decode("ascii", "replace"), domain=f"cmc-timing-v1 {name}", data=notes)
        return notes if good else b""

    def keep_timing_cache(self, name: str, notes: bytes) -> None:
        """Keep the builder's notes for the next build."""
        mac = self.folder.mac(f"cmc-timing-v1 {name}", notes)
        with self.folder.lock(), self.folder.write(f"{name}.timing") as handle:
            handle.write(mac.encode() + b"\n" + notes)

    def _sound_records(self) -> Iterator[EngineRecord]:
        for record in self.records():
            if isinstance(record, StoredFault):
                raise InputError(record.fault, mend=_AGAIN)
            yield record

    def _write_record(self, name: str, domain: str, record: EngineRecord | VerifiedRecord) -> None:
        fields = record.model_dump(mode="json")
        document = {"record": fields, "hmac": self.folder.mac(domain, _canonical(fields))}
        with self.folder.write(name) as handle:
            handle.write((json.dumps(document, indent=1) + "\n").encode())

    def _read_record(self, name: str, domain: str, kind: type[Record]) -> Record | None:
        try:
            data = self.folder.read(name, limit=_RECORD_LIMIT)
        except FileNotFoundError:
            return None
        path = str(self.folder.path / name)
        try:
            document = parse_json(data, name=path)
        except BundleError as error:
            raise self._tampered(name, "it is no JSON document") from error
        if not isinstance(document, dict) or not isinstance(document.get("hmac"), str):
            raise self._tampered(name, "it carries no HMAC")
        fields = document.get("record")
        if not self.folder.same_mac(document["hmac"], domain=domain, data=_canonical(fields)):
            raise self._tampered(name, "its HMAC is not that of this folder's key")
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            raise InputError(f"{path} is of another version of cmc-sdk", mend=_AGAIN) from error

    def _tampered(self, name: str, why: str) -> InputError:
        return InputError(f"{self.folder.path / name} was changed or comes from elsewhere: {why}", mend=_AGAIN)


def _canonical(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _verified_name(record: VerifiedRecord) -> str:
    return f"verified-{record.manifest_sha256[:16]}-{record.precision}-{record.device.digest[:16]}.json"
