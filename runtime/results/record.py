"""The run record: what was run on what, without a word about the patient."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cmc_sdk.imaging.volume import Volume
from cmc_sdk.strict_model import StrictModel

__all__ = ["BundleIdentity", "GroupRecord", "InputRecord", "QualityRecord", "RunRecord", "hash_volume", "record_schema"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BundleIdentity(StrictModel):
    """Which bundle: name, version, hash of its manifest, and the id of the trusted key that signed it, if one did."""

    name: str
    version: str
    manifest_sha256: Sha256
    key_id: str | None = None


class InputRecord(StrictModel):
    """One scan: hash of its voxels, and its geometry; not its file's name, which may hold a patient's."""

    voxels_sha256: Sha256
    dtype: str
    size_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine_mm: tuple[tuple[float, ...], ...]


class GroupRecord(StrictModel):
    """One plan: which modalities ran together, on which grid, in how many windows."""

    modalities: tuple[str, ...]
    grid_size_vox: tuple[int, int, int]
    grid_spacing_mm: tuple[float, float, float]
    windows: int
    ring_axis: int
    core_bytes: int


class QualityRecord(StrictModel):
    """The quality flag and its reasons."""

    status: Literal["ok", "review", "reject"]
    reasons: tuple[str, ...]


class RunRecord(StrictModel):
    """`record.json`.

    Args:
        record_version: Of this schema.
        time_utc: Start of the run, ISO 8601.
        code_version: Of cmc-sdk.
        bundle: Which bundle; None for a network that was not exported.
        trust: Id of the trusted key that vouches for the bundle, or `development: ...` where nobody was asked; None
            for a network that was not exported.
        backend: Inference library.
        precision: That it computed in.
        backend_reason: Why these two; None for a network that was not exported.
        device: Processor.
        threads: Threads of the inference library; None for its own choice.
        inputs: By modality.
        presence: By modality of the network.
        plan: By group.
        batch: Windows in one call of the network.
        streams: Calls at once.
        windows_run: Windows that went through the network.
        windows_reused: Constant windows whose result was reused.
        seconds: By stage.
        peak_rss_bytes: Largest resident memory of the process so far; None where the system does not say.
        warnings: What the user should know of how it was run.
        quality: The flag.
        volumes_ml: By modality and class.
    """

    record_version: Literal[1] = 1
    time_utc: str
    code_version: str
    bundle: BundleIdentity | None
    trust: str | None
    backend: str
    precision: str
    backend_reason: str | None = None
    device: str
    threads: int | None
    inputs: dict[str, InputRecord]
    presence: dict[str, bool]
    plan: tuple[GroupRecord, ...]
    batch: int
    streams: int
    windows_run: int
    windows_reused: int
    seconds: dict[str, float]
    peak_rss_bytes: int | None
    warnings: tuple[str, ...]
    quality: QualityRecord
    volumes_ml: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """The record for JSON."""
        return self.model_dump(mode="json")


def record_schema() -> dict[str, Any]:
    """JSON Schema of the run record."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunRecord.model_json_schema()}


def input_record(volume: Volume) -> InputRecord:
    """Hash and geometry of a scan."""
    return InputRecord(
        voxels_sha256=hash_volume(volume),
        dtype=str(volume.stored.dtype),
        size_vox=volume.size_vox,
        spacing_mm=volume.spacing_mm,
        affine_mm=tuple(tuple(float(value) for value in row) for row in volume.affine_mm),
    )


def hash_volume(volume: Volume) -> str:
    """sha256 of the stored voxels, little-endian, the first index varying fastest; read slice by slice."""
    digest = hashlib.sha256()
    dtype = volume.stored.dtype.newbyteorder("<")
    for index in range(volume.size_vox[2]):
        digest.update(np.asfortranarray(volume.stored[:, :, index], dtype=dtype).tobytes(order="F"))
    return digest.hexdigest()


if __name__ == "__main__":
    print(json.dumps(record_schema(), indent=2))
