"""The released code's network as one ONNX graph: its skips would be 672 MiB a window across a border."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import InputError, ParityError
from cmc_sdk.export.graphs import export_module
from cmc_sdk.export.onnx_file import inspect_graph
from cmc_sdk.runtime.onnx.opset import OPSET
from cmc_sdk.training.model import ReleasedNetwork

__all__ = ["export_released"]

_TOLERANCE = 1e-4
"""Of ONNX Runtime's logits beside torch's, relative to the largest. One random window has no labels to count, so that
none of the gate's limits applies.
"""

_SEED = 20240807


def export_released(
    network: ReleasedNetwork,
    path: str | os.PathLike[str],
    *,
    window_vox: tuple[int, int, int] = (128, 128, 128),
    opset: int = OPSET,
) -> float:
    """Write the network as one graph: image_a, image_b (N, 1, X, Y, Z) → logits_a, logits_b (N, K, X, Y, Z).

    The written file is run on ONNX Runtime against torch on a random window before it gets its name.

    Args:
        network: From `load_released_checkpoint`.
        path: The `.onnx` file; its folder must exist.
        window_vox: Window that the graph is for; multiples of 8.
        opset: One of `OPSETS`.

    Returns:
        Largest difference of the logits, relative to their largest absolute value.

    Raises:
        InputError: `path` exists, or a window that is no multiple of 8.
        ParityError: That difference is above 1e-4; nothing is written.
        BundleError: The file breaks a rule of `inspect_graph`.
    """
    import onnxruntime

    if Path(path).exists():
        raise InputError(f"{path} exists already", mend="remove it or choose another name")
    if any(size < 8 or size % 8 for size in window_vox):
        raise InputError(f"a window of {window_vox} voxels", mend="give multiples of 8")
    generator = torch.Generator().manual_seed(_SEED)
    images = [torch.randn(1, 1, *window_vox, generator=generator) for _ in range(2)]
    name = str(path)
    training = network.training
    network.eval()
    try:
        content = export_module(
            network,
            inputs=dict(zip(("image_a", "image_b"), images, strict=True)),
            outputs=("logits_a", "logits_b"),
            name=name,
            opset=opset,
        )
        with torch.no_grad():
            expected = [logits.numpy() for logits in network(*images)]
    finally:
        network.train(training)
    inspect_graph(content, name=name)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = session.run(None, {"image_a": images[0].numpy(), "image_b": images[1].numpy()})
    scale = max(float(np.abs(logits).max()) for logits in expected)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, given, strict=True)) / max(scale, 1e-12)
    if not difference <= _TOLERANCE:
        raise ParityError(
            f"{name}: the written graph's logits differ from torch's by {difference:.2e} of their range, "
            f"more than {_TOLERANCE:g}",
            mend="export with the pinned torch, onnxscript and onnxruntime (constraints.txt)",
        )
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return difference
