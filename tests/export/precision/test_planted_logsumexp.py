"""The padded window's log-sum-exp planted in FP16: from which weights on it does harm.

What the gate says of it on scans: `tests/runtime/gate/test_planted_logsumexp.py`.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from cmc_sdk.export.precision.islands import find_candidates
from cmc_sdk.export.precision.mixed import to_mixed
from cmc_sdk.export.precision.rounded import to_rounded
from cmc_sdk.export.precision.view import GraphView
from tests.export.precision.parts import attention_graph, run, tokens

HARMLESS, HARMFUL = 1000.0, 3000.0
"""Standard deviations of the relative-position weights of `parts.attended`; those of a trained network are below 1."""


def rounded(content: bytes, *, planted: bool) -> onnx.ModelProto:
    """The graph in FP16, really rounded, with every delicate part in FP32; `planted`: but the log-sum-exp."""
    model = onnx.load_model_from_string(content)
    islands = {
        node
        for candidate in find_candidates(GraphView(model, name="graph.onnx"))
        for node in candidate.nodes
        if not (planted and candidate.kind == "padded_logsumexp")
    }
    return to_rounded(to_mixed(model, islands=islands, name="graph.onnx").model, name="graph.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "harm"), [(1.0, False), (HARMLESS, False), (HARMFUL, True)])
def test_its_maxima_are_taken_out_so_harm_begins_where_its_sums_pass_fp16(scale: float, harm: bool) -> None:
    content = attention_graph(scale=scale)
    expected = run(content, h=tokens(3))
    spared, planted = (run(rounded(content, planted=value), h=tokens(3)) for value in (False, True))
    assert np.isfinite(spared).all()
    assert np.isfinite(planted).all() == (not harm)
    if not harm:
        size = np.abs(expected).max()
        assert np.abs(planted - expected).max() / size <= 1.5 * np.abs(spared - expected).max() / size + 1e-3
