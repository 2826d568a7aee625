"""Which packages decide what an installation of cmc-sdk does, and which versions of them are here."""

from __future__ import annotations

import importlib.metadata

__all__ = ["COMPUTING", "PACKAGES", "installed_version"]

PACKAGES = (
    "cmc-sdk", "numpy", "nibabel", "pydantic", "click", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "monai",
    "lightning-fabric", "safetensors", "onnx", "onnxscript",
)  # fmt: skip
"""Every package whose version a report names: of all rooms, installed here or not."""

COMPUTING = ("cmc-sdk", "openvino", "onnxruntime", "onnxruntime-gpu", "numpy")
"""Those of `PACKAGES` that compute a label: the only ones that a benchmark's figures depend on, in its page's order."""


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, as pip knows it and without importing it; None: not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
