"""OpenVINO's own format for graphs, in memory: what an int8 graph is written in.

OpenVINO reads QDQ graphs in ONNX with wrong results where a 3×3×3 convolution has symmetric 8-bit weights (logits were
seen to differ by 1.96), so its int8 graphs are kept in the format in which it quantised them.
"""

from __future__ import annotations

import io
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.bundle.manifest import CalibratedRange, Graph
from cmc_sdk.errors import BundleError
from cmc_sdk.export.graphs import ExportedGraph
from cmc_sdk.runtime.backends.openvino import import_openvino

if TYPE_CHECKING:
    import openvino

__all__ = ["read_onnx", "write_ir"]


def read_onnx(content: bytes) -> openvino.Model:
    """An ONNX file as OpenVINO's model."""
    return import_openvino().Core().read_model(io.BytesIO(content))


def write_ir(model: openvino.Model, *, graph: Graph, calibrated: CalibratedRange | None = None) -> ExportedGraph:
    """The int8 graph of a bundle: what the manifest says of it, and the bytes of both its files.

    The tools' notes about themselves are left out: they name versions and folders.

    Args:
        model: OpenVINO's model, quantised.
        graph: The f32 graph that it was made from.
        calibrated: The windows that it is for; None: for all.

    Raises:
        BundleError: The model's inputs or outputs are not those of the f32 graph, or nothing in it is quantised.
    """
    stem = graph.path.replace("graphs/f32/", "graphs/int8-openvino/").removesuffix(".onnx")
    given = {port.get_any_name() for port in (*model.inputs, *model.outputs)}
    if given != {port.name for port in (*graph.inputs, *graph.outputs)}:
        raise BundleError(f"{stem}: its inputs and outputs are not those of the f32 graph", mend="report this network")
    if not any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        raise BundleError(f"{stem}: nothing in it is quantised", mend="report this network, or leave --int8 out")
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        import_openvino().serialize(model, str(xml), str(weights))
        root = ElementTree.parse(xml).getroot()
        for parent in list(root.iter()):
            for note in parent.findall("rt_info"):
                parent.remove(note)
        root.set("name", stem.rpartition("/")[2])
        entry = graph.model_copy(
            update={
                "path": f"{stem}.xml",
                "weights": f"{stem}.bin",
                "precision": "int8-openvino",
                "opset": int(root.attrib["version"]),
                "islands": (),
                "calibrated": calibrated,
            }
        )
        # The declaration is what a reader knows the format by.
        content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return ExportedGraph(entry=entry, content=content, weights=weights.read_bytes())
