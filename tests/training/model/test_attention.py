"""The short form of padded-window attention against the padded one."""

from __future__ import annotations

import pytest
import torch

from cmc_sdk.training.model.attention import GridAttention
from tests.reference import padded_encoder as reference
from tests.training.model.networks import noise, randomise, relative


def padded(module: GridAttention, x: torch.Tensor) -> torch.Tensor:
    own = {f"attn.{key}": value for key, value in module.named_parameters()}
    grid, pad = x.shape[1], module.window - x.shape[1]
    full = torch.nn.functional.pad(x, (0, 0, 0, pad, 0, pad, 0, pad))
    return reference.attention(own, full, heads=module.heads)[:, :grid, :grid, :grid]


@pytest.mark.parametrize(("grid", "window"), [(2, 3), (3, 5), (4, 4), (2, 7), (6, 7)])
def test_short_form_equals_padding(grid: int, window: int) -> None:
    module = randomise(GridAttention(24, heads=3, grid=grid, window=window), scale=0.5)
    x = noise(2, grid, grid, grid, 24)
    assert relative(module(x), padded(module, x)) < 1e-5


def test_gradients_are_finite_and_those_of_padding() -> None:
    module = randomise(GridAttention(24, heads=3, grid=3, window=6), scale=0.5)
    x, weight = noise(2, 3, 3, 3, 24).requires_grad_(), noise(2, 3, 3, 3, 24, seed=1)
    wanted = [x, *module.parameters()]
    given = torch.autograd.grad((module(x) * weight).sum(), wanted)
    expected = torch.autograd.grad((padded(module, x) * weight).sum(), wanted)
    for one, other in zip(given, expected, strict=True):
        assert one.isfinite().all()
        assert relative(one, other) < 1e-4


def test_gradients_stay_finite_where_one_key_dominates() -> None:
    """Written as "all minus real" the padding's weight would cancel to −inf here."""
    module = randomise(GridAttention(24, heads=3, grid=3, window=6), scale=0.5)
    with torch.no_grad():
        for axis in "dhw":
            getattr(module, f"rel_pos_{axis}").mul_(30)
    x = noise(1, 3, 3, 3, 24).requires_grad_()
    module(x).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_padding_matters_and_a_full_grid_has_none() -> None:
    wide = randomise(GridAttention(24, heads=3, grid=3, window=5), scale=0.5)
    x = noise(1, 3, 3, 3, 24)
    full = GridAttention(24, heads=3, grid=3, window=3)
    state = wide.state_dict()
    for axis in "dhw":  # the same relative positions, without those that reach into the padding
        state[f"rel_pos_{axis}"] = state[f"rel_pos_{axis}"][2:-2]
    full.load_state_dict(state)
    assert relative(full(x), wide(x)) > 0.01


def test_position_bias_of_the_reference_by_loops() -> None:
    """The reference's own bias: on the axes of the public weights, term by term."""
    own = {f"attn.rel_pos_{axis}": noise(5, 4, seed=index) for index, axis in enumerate("dhw")}
    q = noise(1, 1, 3, 3, 3, 4, seed=9)
    expected = reference.position_bias_by_loops(own, q[0, 0])
    torch.testing.assert_close(reference.position_bias(own, q)[0, 0], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_log_sum_exp_stays_single_precision_under_autocast(dtype: torch.dtype) -> None:
    module = randomise(GridAttention(24, heads=3, grid=3, window=6), scale=0.5)
    x, weight = noise(1, 3, 3, 3, 24).requires_grad_(), noise(1, 3, 3, 3, 24, seed=1)
    seen = []
    original = module._pad_log_sum

    def watched(*terms: torch.Tensor) -> torch.Tensor:
        result = original(*terms)
        seen.extend(term.dtype for term in (*terms[:3], result))
        with torch.autocast("cpu", enabled=False):
            assert torch.equal(result, original(*terms))
        return result

    module._pad_log_sum = watched  # type: ignore[method-assign]
    with torch.autocast("cpu", dtype=dtype):
        out = module(x)
    (out.float() * weight).sum().backward()
    assert set(seen) == {torch.float32}
    assert relative(out.float(), module(x)) < 0.05
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
