"""A small bundle for tests; its graphs are not graphs."""

from __future__ import annotations

import hashlib
import json

from cmc_sdk.bundle import ModelSpec, write_bundle
from cmc_sdk.bundle.manifest import Graph, Grid, IntensityRule, ModalitySpec, SeenRange, SubsetScore
from cmc_sdk.bundle.precision import GateLimits, Tensor
from cmc_sdk.imaging.classes import ClassTable


def graph(modality, part):
    window = Tensor(name="window", dtype="float32", shape=(None, 1, 32, 32, 32))
    return Graph(
        path=f"graphs/f32/{part}_{modality}.onnx",
        part=part,
        modality=modality,
        precision="f32",
        opset=18,
        inputs=(window,),
        outputs=(window,),
    )


def fields(**changes):
    spec = ModelSpec(
        modalities=(
            ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-175.0, 250.0), unit="HU")),
            ModalitySpec(name="mr", dicom_modality="MR"),
        ),
        reference_modality="ct",
        classes=ClassTable.from_names(["liver", "spleen"]),
        grid=Grid(spacing_mm=(1.5, 1.5, 2.0), window_vox=(32, 32, 32)),
    )
    return {
        "name": "abdomen",
        "version": "1",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "spec": spec,
        "graphs": tuple(graph(modality, part) for modality in ("ct", "mr") for part in ("encoder", "decoder")),
        "gate": {"f32": GateLimits()},
        "validated_subsets": (SubsetScore(present=("ct",), dice={"ct": {"liver": 0.9}}, mean_dice=0.9, cases=3),),
        "seen": {"ct": SeenRange(intensity=(-20.0, 90.0))},
        "provenance": {"seed": 7, "config": {"lr": 1e-4, "stages": [1, 2, 3]}},
        **changes,
    }


def contents():
    files = {
        f"graphs/f32/{part}_{m}.onnx": f"{part} {m}".encode() * 50
        for m in ("ct", "mr")
        for part in ("encoder", "decoder")
    }
    return {**files, "golden/case0/ct.bin": bytes(range(256)) * 4, "parity.json": b'{"f32": {}}\n', "golden/empty": b""}


def make_bundle(path, **changes):
    write_bundle(path, manifest_fields=fields(**changes), files=contents())
    return path


def edit_manifest(path, change):
    """Change the parsed manifest in place and write it back."""
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def relist(path, relpath):
    """Let the manifest list a file as it stands now."""
    data = (path / relpath).read_bytes()

    def change(manifest):
        entries = [entry for entry in manifest["files"] if entry["path"] != relpath]
        entries.append({"path": relpath, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        manifest["files"] = entries

    edit_manifest(path, change)
