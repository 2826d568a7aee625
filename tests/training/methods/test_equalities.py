"""What must be equal bit for bit: weight 0, the control as released, and random draws; and split batches."""

from __future__ import annotations

import pytest
import torch

from cmc_sdk.training.methods import LossTerms, drop_modalities
from tests.training.methods.samples import batch, cnn, gradients, loss_of, method, rows, same_weights, train


@pytest.mark.parametrize("loss", [{"w_csc": 0.0, "w_cac": 0.0}, {"as_released": True}])
def test_several_steps_equal_supervised_only_bit_for_bit(loss: dict[str, object]) -> None:
    control, plain = cnn(), cnn()
    logged = train(method(control, dropout=0.5, **loss), steps=3)
    train(method(plain, "supervised", dropout=0.5), steps=3)
    assert same_weights(control, plain)
    if "as_released" in loss:
        assert all(entry["csc"] > 0 and "w_cac" in entry for entry in logged)


def test_true_run_and_control_differ_only_in_the_gradient() -> None:
    network = cnn()
    labelled, unlabelled = batch(network), batch(network, seed=4, labels=False)
    true, control = (method(network, dropout=0.5, as_released=released) for released in (False, True))
    one, other = (loss_of(given, labelled, unlabelled) for given in (true, control))
    assert one.logged == other.logged
    assert torch.equal(one.total, other.total)


@pytest.mark.parametrize("name", ["supervised", "cmc", "mean_teacher", "cps"])
def test_the_labelled_part_does_not_depend_on_the_unlabelled(name: str) -> None:
    network = cnn()
    given = method(network, name, dropout=0.5)
    labelled = batch(network, size=3)
    values = [
        loss_of(given, labelled, other).logged["supervised"]
        for other in (None, batch(network, seed=3, labels=False), batch(network, size=1, seed=9, labels=False))
    ]
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("name", ["cmc", "mean_teacher"])
def test_stages_one_and_two_do_not_read_unlabelled_data(name: str, stage: int) -> None:
    network, plain = cnn(), cnn()
    train(method(network, name), steps=2, stage=stage)
    train(method(plain, "supervised"), steps=2, stage=stage)
    assert same_weights(network, plain)


def test_stage_one_leaves_mia_and_fusion_alone() -> None:
    network = cnn()
    given = method(network, dropout=1.0)
    found = gradients(given, loss_of(given, batch(network), None, stage=1))
    assert not [name for name in found if name.startswith(("mia", "fusion", "missing"))]
    assert {name.split(".")[1] for name in found if name.startswith("decoders")} == {"0", "1"}


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("cmc", {}),
        ("cmc", {"cac": "moments", "csc_descriptor": "gram", "csc_on_labelled": True}),
        ("mean_teacher", {}),
        ("cps", {}),
    ],
)
def test_two_halves_give_the_gradients_of_the_whole(name: str, loss: dict[str, object]) -> None:
    network = cnn()
    train(method(network, "supervised"), steps=1)
    with torch.no_grad():  # surer predictions: which classes are present then differs between samples
        for decoder in network.decoders:
            decoder.out.weight.mul_(4.0)
    given = method(network, name, dropout=0.5, **loss)
    labelled, unlabelled = batch(network, size=4), batch(network, size=4, seed=7, labels=False)
    labelled.labels["ct"][0] = 0  # classes differ between samples
    labelled.labels["mr"][3][labelled.labels["mr"][3] == 1] = 2
    unlabelled.presence[3, 0] = False  # and so do the modalities
    whole = gradients(given, loss_of(given, labelled, unlabelled))
    parts = [
        loss_of(given, rows(labelled, half), rows(unlabelled, half), first_sample=half.start)
        for half in (slice(0, 2), slice(2, 4))
    ]
    halves = gradients(given, LossTerms(total=(parts[0].total + parts[1].total) / 2, logged={}))
    for item, value in whole.items():
        if item in halves:
            torch.testing.assert_close(halves[item], value, rtol=1e-3, atol=2e-6, msg=item)
        else:
            assert float(value.abs().max()) == 0.0, item


def test_modality_dropout_is_a_pure_function_and_never_takes_all() -> None:
    presence = torch.ones(400, 3, dtype=torch.bool)
    presence[::4] = torch.tensor([False, True, False])
    first = drop_modalities(presence, probability=0.5, seed=3, step=8)
    assert torch.equal(first, drop_modalities(presence, probability=0.5, seed=3, step=8))
    later = drop_modalities(presence[100:], probability=0.5, seed=3, step=8, first_sample=100)
    assert torch.equal(first[100:], later)
    assert not torch.equal(first, drop_modalities(presence, probability=0.5, seed=3, step=9))
    assert bool(first.any(dim=1).all())
    assert torch.equal(first[::4], presence[::4])
    lost = presence.sum(dim=1) - first.sum(dim=1)
    assert int(lost.max()) == 1
    assert 0.4 < float(lost[presence.all(dim=1)].float().mean()) < 0.6
    assert torch.equal(drop_modalities(presence, probability=0.0, seed=3, step=8), presence)


def test_a_lost_modality_has_no_influence() -> None:
    network = cnn()
    given = method(network, "supervised", dropout=1.0)
    labelled = batch(network)
    before = loss_of(given, labelled, None, number=5).total
    shown = drop_modalities(labelled.presence, probability=1.0, seed=0, step=5)
    for row, column in torch.nonzero(~shown).tolist():
        name = network.modalities[column]
        labelled.images[name][row] = float("nan")
        labelled.labels[name][row] = 0
    after = loss_of(given, labelled, None, number=5).total
    assert torch.equal(before, after)


@pytest.mark.parametrize("modalities", [("t1", "t2", "flair"), ("ct", "mr")])
def test_pairs_are_averaged(modalities: tuple[str, ...]) -> None:
    network = cnn(modalities)
    given = method(network)
    labelled, unlabelled = batch(network), batch(network, seed=3, labels=False)
    whole = loss_of(given, labelled, unlabelled)
    pairs = []
    for left_out in range(len(modalities)) if len(modalities) == 3 else ():
        unlabelled.presence[:] = True
        unlabelled.presence[:, left_out] = False
        pairs.append(loss_of(given, labelled, unlabelled).logged["csc"])
    if pairs:
        assert whole.logged["csc"] == pytest.approx(sum(pairs) / 3, rel=1e-5)
    unlabelled.presence[:] = False
    unlabelled.presence[:, 0] = True
    alone = loss_of(given, labelled, unlabelled)
    assert float(alone.total.detach()) == pytest.approx(alone.logged["supervised"])
