"""The static checks of a graph at export: those that every device repeats, and those that need the onnx package.

`cmc_sdk.runtime.onnx.checks` reads the file without onnx, so that `cmc verify` makes the same checks where the bundle
runs. What is added here is ONNX's own checker, and its inference of shapes and types with two batch sizes: a
batch that is dynamic by name only, and fixed inside, is found by it.
"""

from __future__ import annotations

import onnx

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.checks import check_graph_file

__all__ = ["check_graph"]

_BATCHES = (2, 3)


def check_graph(content: bytes, *, graph: Graph) -> None:
    """Refuse a graph that is not what the manifest will say of it.

    Args:
        content: The ONNX file.
        graph: Its entry in the manifest.

    Raises:
        BundleError: The rule that is broken.
    """
    check_graph_file(content, graph=graph)
    model = onnx.load_model_from_string(content)
    del model.graph.value_info[:]
    for batch in _BATCHES:
        _check_batch(model, batch=batch, graph=graph)


def _check_batch(model: onnx.ModelProto, *, batch: int, graph: Graph) -> None:
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    for value in trial.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    for value in trial.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(trial, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise BundleError(
            f"{graph.path}: its shapes or types do not agree for a batch of {batch}: {error}", mend="export again"
        ) from error
    for value in inferred.graph.output:
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if shape[:1] != (batch,):
            raise BundleError(
                f"{graph.path}: the batch is dynamic by name only: {value.name} of {batch} windows has shape {shape}",
                mend="export again",
            )
