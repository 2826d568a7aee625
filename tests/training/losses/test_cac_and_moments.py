"""CAC voxel by voxel, and the moments that need no correspondence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.errors import InputError
from cmc_sdk.training.losses import cac_loss, moments_loss
from tests.reference import losses as reference
from tests.training.losses.samples import body, noise, prediction


def pair(*, batch: int = 3, classes: int = 4, size: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample 0 has every class; class 2 is absent from sample 1; sample 2 (if there) is all background."""
    a, b = (prediction(batch, classes, size, size, size, seed=seed + i) for i in range(2))
    for p in (a, b):
        p[1, 2] *= 0.2
        p[2:, 1:] *= 0.2
    return a, b


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(2, 4), sharpness=st.floats(0.1, 4.0))
def test_equal_plain_mathematics(seed: int, size: int, sharpness: float) -> None:
    a, b = (prediction(2, 3, size, size, size + 1, seed=seed + i, sharpness=sharpness) for i in range(2))
    body_a, body_b = body(2, seed=seed), body(2, seed=seed + 5)
    plain = [tensor.double().numpy() for tensor in (a, b, body_a, body_b)]
    assert float(cac_loss(a, b)) == pytest.approx(reference.cac(*plain[:2]), rel=1e-4, abs=1e-6)
    value = float(moments_loss(a, b, body_a=body_a, body_b=body_b))
    assert value == pytest.approx(reference.moments(*plain), rel=1e-3, abs=1e-5)
    assert float(cac_loss(b, a)) == pytest.approx(float(cac_loss(a, b)), rel=1e-6)
    assert float(moments_loss(b, a, body_a=body_b, body_b=body_a)) == pytest.approx(value, rel=1e-5, abs=1e-7)


def test_absent_classes_and_empty_samples() -> None:
    a, b = pair()
    per_sample = cac_loss(a, b, reduction="none")
    assert float(per_sample[2]) == 0.0
    kept = [0, 1, 3]
    alone = cac_loss(a[1:2][:, kept], b[1:2][:, kept])
    torch.testing.assert_close(per_sample[1], alone)
    assert float(per_sample[0]) == pytest.approx(reference.cac(a[:1].double().numpy(), b[:1].double().numpy()))
    assert float(moments_loss(a, b, body_a=body(3), body_b=body(3), reduction="none")[2]) == 0.0


def test_present_if_either_prediction_claims_it() -> None:
    a, b = pair(batch=2)
    b[0, 1:] *= 0.2
    assert float(cac_loss(a[:1], b[:1])) > 0.5
    assert float(cac_loss(b[:1], a[:1])) > 0.5


def test_identical_predictions_give_zero() -> None:
    a, _ = pair()
    assert float(cac_loss(a, a)) == pytest.approx(0.0, abs=1e-6)
    assert float(moments_loss(a, a, body_a=body(3), body_b=body(3))) == 0.0


def test_background_plays_no_part() -> None:
    a, b = pair()
    changed = a.clone()
    changed[:, 0] = 0.123
    assert torch.equal(cac_loss(a, b), cac_loss(changed, b))
    matrices = {"body_a": body(3), "body_b": body(3, seed=1)}
    assert torch.equal(moments_loss(a, b, **matrices), moments_loss(changed, b, **matrices))


def blob(centre: tuple[int, int, int], *, size: int = 16, width: float = 2.0) -> torch.Tensor:
    index = torch.stack(torch.meshgrid(*(torch.arange(size, dtype=torch.float32),) * 3, indexing="ij"))
    distance = (
        (index - torch.tensor(centre).view(3, 1, 1, 1)) / torch.tensor([1.0, 2.0, 1.0]).view(3, 1, 1, 1)
    ).square()
    inside = 0.98 * torch.exp(-distance.sum(dim=0) / (2 * width**2))
    return torch.stack([1 - inside, inside])[None]


def test_moments_do_not_see_place_and_cac_does() -> None:
    here, there = blob((6, 7, 8), width=1.0), blob((9, 8, 6), width=1.0)
    matrix = torch.eye(3, 4)[None] / 16
    assert float(moments_loss(here, there, body_a=matrix, body_b=matrix)) < 1e-3
    assert float(cac_loss(here, there)) > 0.3


def test_moments_see_size_and_shape_in_body_coordinates() -> None:
    small, large = blob((8, 8, 8), width=1.0), blob((8, 8, 8), width=1.6)
    matrix = torch.eye(3, 4)[None] / 16
    turned = large.transpose(2, 3)
    value = float(moments_loss(small, large, body_a=matrix, body_b=matrix))
    assert value > 0.2
    assert float(moments_loss(large, turned, body_a=matrix, body_b=matrix)) > 0.2
    # The same organ in a patient 1.6 times as large, window voxels unchanged: equal shares and equal shapes.
    assert float(moments_loss(small, large, body_a=matrix, body_b=matrix / 1.6)) < 0.15 * value


@pytest.mark.parametrize("loss", ["cac", "moments"])
def test_gradients_are_finite_where_classes_are_absent(loss: str) -> None:
    a, b = pair()
    a[1, 2], b[1, 2] = 0.0, 0.0
    a.requires_grad_()
    matrices = {"body_a": body(3), "body_b": body(3, seed=1)}
    value = cac_loss(a, b) if loss == "cac" else moments_loss(a, b, **matrices)
    (gradient,) = torch.autograd.grad(value, a)
    assert torch.isfinite(gradient).all()
    assert gradient[0].abs().sum() > 0
    assert gradient[1, 2].abs().sum() == 0
    assert gradient[2].abs().sum() == 0


@pytest.mark.parametrize("loss", ["cac", "moments"])
def test_gradients_of_half_batches_average_to_those_of_the_whole(loss: str) -> None:
    a, b = pair(batch=4)
    matrices = body(4), body(4, seed=1)

    def value(rows: slice, p: torch.Tensor) -> torch.Tensor:
        if loss == "cac":
            return cac_loss(p[rows], b[rows])
        return moments_loss(p[rows], b[rows], body_a=matrices[0][rows], body_b=matrices[1][rows])

    a.requires_grad_()
    (whole,) = torch.autograd.grad(value(slice(0, 4), a), a)
    (halves,) = torch.autograd.grad((value(slice(0, 2), a) + value(slice(2, 4), a)) / 2, a)
    torch.testing.assert_close(whole, halves)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InputError, match="or use cac: moments"):
        cac_loss(prediction(1, 3, 4, 4, 4), prediction(1, 3, 4, 4, 5))
    with pytest.raises(InputError, match="differ in batch or classes"):
        moments_loss(prediction(1, 3, 4, 4, 4), prediction(1, 2, 4, 4, 4), body_a=body(1), body_b=body(1))
    with pytest.raises(InputError, match=r"body matrix has shape \(3, 4\); give \(1, 3, 4\)"):
        moments_loss(prediction(1, 3, 4, 4, 4), prediction(1, 3, 4, 4, 4), body_a=noise(3, 4), body_b=body(1))
