"""What stays FP32 follows from real figures: of harm, of range, of numbers that FP16 does not have."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cmc_sdk.errors import ParityError
from cmc_sdk.export.precision.calibration import Calibrated, calibrate
from tests.export.precision.parts import attention_graph, decoder_graph, features, tokens


def attention(*, scale: float) -> Calibrated:
    inputs = [{"h": tokens(1, seed=seed)} for seed in range(3)]
    return calibrate(attention_graph(scale=scale), name="attention.onnx", inputs=inputs)


def decoder(content: bytes, *, inputs: list[np.ndarray] | None = None) -> Calibrated:
    given = inputs if inputs is not None else [features(1, seed=seed) for seed in range(3)]
    return calibrate(content, name="decoder.onnx", inputs=[{"features": array} for array in given])


def changed(content: bytes, weight: str, factor: float) -> bytes:
    """The graph with one weight multiplied."""
    model = onnx.load_model_from_string(content)
    (tensor,) = [item for item in model.graph.initializer if item.name == weight]
    tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * factor).astype(np.float32), weight))
    return model.SerializeToString()


@pytest.mark.slow
def test_parts_that_do_no_harm_are_converted_and_reported() -> None:
    found = attention(scale=0.02)
    assert found.islands == ()
    assert {item.kind for item in found.judgements} == {"padded_logsumexp", "attention_softmax", "normalisation"}
    for item in found.judgements:
        assert not item.kept
        assert "in FP16 outputs differ from f32 by" in item.reason
        assert 0 < item.largest < 100
    assert 0 < found.difference < 5e-3
    assert found.windows == 3


@pytest.mark.slow
def test_a_part_that_does_harm_stays() -> None:
    # Position terms of some hundred: a rounding of one logit is a factor in its weight.
    (island,) = [item for item in attention(scale=100.0).islands if item.kind == "attention_softmax"]
    assert "y differs from f32 by" in island.reason
    assert island.difference is not None
    assert island.difference > 1e-3


def test_values_near_the_end_of_fp16_keep_their_part_whatever_the_difference() -> None:
    large = changed(decoder_graph(), "mia.phi2.weight", 60.0)
    (island,) = [item for item in decoder(large).islands if item.kind == "mia_correlation"]
    assert "where FP16 ends at 65504" in island.reason
    assert "mia/" in island.reason


def test_a_number_that_fp16_does_not_have_keeps_its_part() -> None:
    islands = {item.kind: item.reason for item in decoder(decoder_graph()).islands}
    assert "1e-05" in islands["normalisation"]
    assert "1e-12" in islands["mia_correlation"]
    assert "is 0 in FP16" in islands["mia_correlation"]
    assert "logits" not in islands


def test_what_fp16_cannot_hold_at_all_is_refused_with_place_and_figure() -> None:
    with pytest.raises(ParityError, match=r"mia\.phi3\.weight_as_fp16|mia\.phi3\.weight of mia.* reaches \d.*e\+0"):
        decoder(changed(decoder_graph(), "mia.phi3.weight", 1e6))
    with pytest.raises(ParityError, match=r"mia\.phi1\.0/\S+ reaches"):
        decoder(decoder_graph(), inputs=[1e6 * features(1)])


def test_report_holds_every_part() -> None:
    document = decoder(decoder_graph()).to_dict()
    assert [part["kind"] for part in document["parts"]] == ["mia_correlation", "normalisation", "logits"]
    assert document["inputs"] == 3
    assert document["largest_fp16_value"] > 0
