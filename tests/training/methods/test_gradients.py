"""Where the gradients of CSC and CAC go, and that following them raises what they measure."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from cmc_sdk.training.losses import Descriptor
from cmc_sdk.training.methods import LossTerms
from cmc_sdk.training.model import CMCNetwork
from tests.reference import losses as reference
from tests.training.methods.samples import batch, cnn, gradients, loss_of, method, same_weights, train, transformer

ENCODERS = ("encoders.0", "encoders.1")


@pytest.fixture(scope="module")
def network() -> CMCNetwork:
    """A frozen-backbone transformer after one step, so that no W_up is zero any more."""
    network = transformer()
    train(method(network, "supervised"), steps=1)
    return network


def only(network: CMCNetwork, term: str, **loss: object) -> dict[str, torch.Tensor]:
    """Gradients of one consistency term alone."""
    weights = {"w_csc": 0.0, "w_cac": 0.0, f"w_{term}": 0.5}
    given = method(network, **(weights | loss))
    labelled, unlabelled = batch(network), batch(network, seed=7, labels=False)
    with_term, without = (loss_of(given, labelled, other) for other in (unlabelled, None))
    assert term in with_term.logged
    assert float(with_term.logged[term]) > 0
    return gradients(given, LossTerms(total=with_term.total - without.total, logged={}))


def reached(found: dict[str, torch.Tensor], *, prefix: str) -> bool:
    return any(name.startswith(prefix) and bool(value.abs().max() > 1e-12) for name, value in found.items())


@pytest.mark.parametrize("descriptor", get_args(Descriptor))
def test_csc_reaches_adapters_and_necks_and_nothing_after(network: CMCNetwork, descriptor: Descriptor) -> None:
    labelled_free = {
        name: value
        for name, value in only(network, "csc", csc_descriptor=descriptor).items()
        if bool(value.abs().max() > 1e-9)
    }
    assert all(name.startswith(ENCODERS) for name in labelled_free)
    for encoder in ENCODERS:
        for block in range(4):
            for part in ("down", "depthwise", "up"):
                assert f"{encoder}.blocks.{block}.adapter.{part}.weight" in labelled_free
        assert reached(labelled_free, prefix=f"{encoder}.neck")


@pytest.mark.parametrize("cac", ["world", "moments"])
def test_cac_reaches_everything_that_trains(network: CMCNetwork, cac: str) -> None:
    found = only(network, "cac", cac=cac)
    parts = [f"{encoder}.blocks.{block}.adapter.up" for encoder in ENCODERS for block in range(4)]
    parts += [f"{encoder}.neck" for encoder in ENCODERS]
    for prefix in [*parts, "mia.phi1", "mia.phi2", "mia.phi3", "mia.log_tau", "fusion", "decoders.0", "decoders.1"]:
        assert reached(found, prefix=prefix), prefix


@pytest.mark.parametrize("term", ["csc", "cac"])
def test_nothing_frozen_gets_a_gradient(network: CMCNetwork, term: str) -> None:
    frozen = {name for name, item in network.named_parameters() if not item.requires_grad}
    assert any("attn" in name for name in frozen)
    assert not frozen & set(only(network, term))


def test_as_released_lets_no_gradient_through(network: CMCNetwork) -> None:
    labelled, unlabelled = batch(network), batch(network, seed=7, labels=False)
    supervised = gradients(method(network, "supervised"), loss_of(method(network, "supervised"), labelled, None))
    given = method(network, as_released=True)
    terms = loss_of(given, labelled, unlabelled)
    assert terms.logged["csc"] > 0
    assert terms.logged["cac"] > 0
    found = gradients(given, terms)
    assert found.keys() == supervised.keys()
    assert all(torch.equal(found[name], supervised[name]) for name in found)


def optimise(network: CMCNetwork, term: str, **loss: object) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """30 steps on one term alone and one batch; features and predictions before and after."""
    weights = {"w_csc": 0.0, "w_cac": 0.0, f"w_{term}": 1.0}
    given = method(network, **(weights | loss))
    unlabelled = batch(network, size=1, seed=7, labels=False)
    states = []
    optimiser = torch.optim.Adam(given.parameters(), lr=1e-3)
    for step in range(31):
        if step in (0, 30):
            with torch.no_grad():
                output = network(unlabelled.images)
            prob = {f"prob_{name}": torch.softmax(item, dim=1) for name, item in output.logits.items()}
            states.append({**output.features, **prob})
        terms = given._unlabelled_terms(unlabelled, csc=term == "csc", cac=term == "cac")  # type: ignore[attr-defined]
        optimiser.zero_grad()
        getattr(terms, term).backward()
        optimiser.step()
    return states[0], states[1]


@pytest.mark.parametrize(
    "descriptor",
    ["spatial", "gram", pytest.param("quantile", marks=pytest.mark.slow), pytest.param("nce", marks=pytest.mark.slow)],
)
def test_thirty_steps_on_csc_raise_the_agreement_of_features(descriptor: Descriptor) -> None:
    before, after = optimise(cnn(), "csc", csc_descriptor=descriptor)
    values = [
        reference.csc(state["ct"].double().numpy(), state["mr"].double().numpy(), descriptor)
        for state in (before, after)
    ]
    assert values[1] < 0.8 * values[0]


@pytest.mark.slow
def test_thirty_steps_on_cac_raise_the_overlap_of_predictions() -> None:
    before, after = optimise(cnn(), "cac")

    def overlap(state: dict[str, torch.Tensor]) -> float:
        a, b = (state[f"prob_{name}"].argmax(dim=1) for name in ("ct", "mr"))
        return float(((a == b) & (a > 0)).sum() * 2 / ((a > 0).sum() + (b > 0).sum()))

    assert overlap(after) > overlap(before) + 0.01


@pytest.mark.slow
def test_thirty_steps_on_moments_bring_volume_and_shape_together() -> None:
    network = cnn()
    before, after = optimise(network, "cac", cac="moments")
    body = {name: item.double().numpy() for name, item in batch(network, size=1, seed=7).body.items()}
    values = [
        reference.moments(state["prob_ct"].double().numpy(), state["prob_mr"].double().numpy(), body["ct"], body["mr"])
        for state in (before, after)
    ]
    assert values[1] < 0.6 * values[0]


def test_both_terms_change_the_weights() -> None:
    for loss in ({"w_cac": 0.0}, {"w_csc": 0.0}):
        plain, semi = cnn(), cnn()
        train(method(plain, "supervised"), steps=2)
        train(method(semi, **loss), steps=2)
        assert not same_weights(plain, semi)
