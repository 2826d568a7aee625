"""What is particular to each method, and how they are built, saved and refused."""

from __future__ import annotations

import pytest
import torch

from cmc_sdk.errors import CheckpointError, ConfigError, DataError
from cmc_sdk.training.methods import MeanTeacher
from cmc_sdk.training.methods.catalogue import METHODS
from cmc_sdk.training.methods.perturb import STRONG, perturb
from tests.training.methods.samples import batch, cnn, gradients, loss_of, method, noise, same_weights, train

NAMES = tuple(METHODS)


@pytest.mark.parametrize("name", NAMES)
def test_unlabelled_batches_need_no_mask(name: str) -> None:
    network = cnn()
    unlabelled = batch(network, seed=2, labels=False)
    assert unlabelled.labels == {}
    terms = loss_of(method(network, name), batch(network), unlabelled)
    assert bool(torch.isfinite(terms.total))


@pytest.mark.parametrize("loss", [{}, {"cac": "moments", "csc_descriptor": "gram"}, {"csc_descriptor": "nce"}])
def test_finite_under_fp16_autocast_with_gradients(loss: dict[str, object]) -> None:
    network = cnn()
    given = method(network, **loss)
    labelled, unlabelled = batch(network, size=1), batch(network, size=1, seed=3, labels=False)
    for images in (labelled.images, unlabelled.images):
        images["ct"] *= 50.0
    with torch.autocast("cpu", dtype=torch.float16):
        terms = loss_of(given, labelled, unlabelled)
    assert terms.total.dtype == torch.float32
    assert bool(torch.isfinite(terms.total))
    found = gradients(given, terms)
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_the_schedule_reads_the_chosen_clock() -> None:
    network = cnn()
    labelled, unlabelled = batch(network), batch(network, seed=2, labels=False)
    begin = {"stage_fraction": 0.0, "global_fraction": 0.8}
    by_stage = loss_of(method(network), labelled, unlabelled, number=1, **begin).logged
    by_run = loss_of(method(network, clock="global"), labelled, unlabelled, number=1, **begin).logged
    assert by_stage["w_cac"] == pytest.approx(0.5 * 0.006738, rel=1e-3)
    assert by_run["w_cac"] == 0.5


def test_cmc_logs_what_shows_failures() -> None:
    network = cnn()
    logged = loss_of(method(network), batch(network), batch(network, seed=2, labels=False)).logged
    for name in ("channel_variance/ct", "foreground_ratio/mr", "mia/tau", "mia/ct/diagonal", "csc", "cac", "w_csc"):
        assert name in logged


def test_the_teacher_follows_and_gets_no_gradient() -> None:
    network = cnn()
    given = method(network, "mean_teacher")
    assert isinstance(given, MeanTeacher)
    before = {name: item.clone() for name, item in given.teacher.state_dict().items()}
    train(given, steps=3)
    assert all(item.grad is None for item in given.teacher.parameters())
    name = "decoders.0.out.weight"
    start, now, student = before[name], given.teacher.state_dict()[name], network.state_dict()[name]
    assert not torch.equal(now, start)
    assert 0 < float((now - start).norm()) < float((student - start).norm())
    given.updates = 10**6
    expected = 0.99 * now + 0.01 * student
    given.after_step()
    torch.testing.assert_close(given.teacher.state_dict()[name], expected)


def test_cps_trains_two_different_networks() -> None:
    network = cnn()
    given = method(network, "cps")
    partner = given.partner  # type: ignore[attr-defined]
    assert not same_weights(network, partner)
    start = {name: item.clone() for name, item in partner.state_dict().items()}
    train(given, steps=1)
    assert not torch.equal(start["decoders.1.out.weight"], partner.state_dict()["decoders.1.out.weight"])
    assert len(list(given.parameters())) == 2 * len(list(network.parameters()))


def test_cps_teaches_each_network_by_the_other_only() -> None:
    network, partner = cnn(), cnn(seed=1)
    given = method(network, "cps", partner=partner, w_cps=1.0)
    labelled, unlabelled = batch(network), batch(network, seed=2, labels=False)
    plain = gradients(method(network, "supervised"), loss_of(method(network, "supervised"), labelled, None))
    found = gradients(given, loss_of(given, labelled, unlabelled))
    assert not torch.equal(found["decoders.0.out.weight"], plain["decoders.0.out.weight"])
    with torch.no_grad():  # a partner that is always sure of class 2 teaches class 2, which the first never says
        for decoder in partner.decoders:
            decoder.out.weight.zero_()
            decoder.out.bias.copy_(torch.tensor([0.0, 0.0, 20.0]))
    taught = gradients(given, loss_of(given, labelled, unlabelled))
    pull = taught["decoders.0.out.bias"] - plain["decoders.0.out.bias"]
    assert pull[2] < 0 < pull[0]


@pytest.mark.parametrize("name", ["mean_teacher", "cps"])
def test_extra_state_restores_the_run(name: str) -> None:
    network = cnn()
    given = method(network, name)
    train(given, steps=2)
    again = method(cnn(), name)
    again.network.load_state_dict(network.state_dict())
    again.load_extra_state(given.extra_state())
    labelled, unlabelled = batch(network), batch(network, seed=2, labels=False)
    assert torch.equal(loss_of(given, labelled, unlabelled).total, loss_of(again, labelled, unlabelled).total)
    assert all(torch.equal(item, again.extra_state()[key]) for key, item in given.extra_state().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_does_not_fit_is_refused(name: str) -> None:
    given = method(cnn(), name)
    state = given.extra_state() | {"stranger": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="resume with the method"):
        given.load_extra_state(state)


def test_perturbations_depend_on_their_sample_only() -> None:
    images = noise(3, 1, 4, 4, 4) + 3.0
    draw = {"strength": STRONG, "seed": 1, "step": 2, "purpose": "student_view/ct"}
    whole = perturb(images, **draw)  # type: ignore[arg-type]
    assert torch.equal(whole[1:], perturb(images[1:], first_sample=1, **draw))  # type: ignore[arg-type]
    assert not torch.equal(whole, perturb(images, **(draw | {"step": 3})))  # type: ignore[arg-type]
    assert float((whole - images).abs().mean()) > 0.01


def test_wrong_requests_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown method 'fixmatch'; use one of cmc"):
        method(cnn(), "fixmatch")
    with pytest.raises(ConfigError, match="compares modalities, the network has only 'ct'"):
        method(cnn(("ct",)))
    network = cnn()
    labelled = batch(network)
    labelled.presence[1] = False
    with pytest.raises(DataError, match="case0-1 has none of the modalities"):
        loss_of(method(network), labelled, None)


@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "cps"])
def test_one_modality_trains(name: str) -> None:
    network = cnn(("mr",))
    given = method(network, name, dropout=0.5)
    terms = loss_of(given, batch(network), batch(network, seed=3, labels=False))
    assert bool(torch.isfinite(terms.total))
