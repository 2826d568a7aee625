"""The CMC network: any subset of modalities, no influence of the absent, nothing shared between batch-mates."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from cmc_sdk.errors import InputError
from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network
from tests.training.model.networks import cnn, noise, randomise, relative, tiny, windows

Build = Callable[..., CMCNetwork]
both = pytest.mark.parametrize("build", [tiny, cnn])


@both
@pytest.mark.parametrize("names", [("t1",), ("ct", "mr"), ("type", "keys", "t1c")])
def test_one_to_three_modalities_under_any_names(build: Build, names: tuple[str, ...]) -> None:
    network = build(names, num_classes=4)
    images = windows(network)
    output = network(images)
    assert list(output.logits) == list(names)
    for name in names:
        assert output.logits[name].shape == (2, 4, 16, 16, 16)
        torch.testing.assert_close(output.features[name], network.encode(name, images[name]).features)
    sum(logits.square().mean() for logits in output.logits.values()).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@both
def test_forward_is_encode_and_decode(build: Build) -> None:
    network = randomise(build(), scale=0.05)
    images = windows(network)
    presence = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    encoded = {name: network.encode(name, image) for name, image in images.items()}
    features = {name: value.features for name, value in encoded.items()}
    output = network(images, presence=presence)
    single = network.decode("ct", features=features, presence=presence, encoded=encoded["ct"], image=images["ct"])
    torch.testing.assert_close(output.logits["ct"], single, rtol=1e-4, atol=1e-5)
    alone = network.decode_alone("mr", encoded=encoded["mr"], image=images["mr"])
    torch.testing.assert_close(network(images, fuse=False).logits["mr"], alone, rtol=1e-4, atol=1e-5)


def test_concat_is_another_network_on_the_same_interface() -> None:
    config = ModelConfig(backbone="unet3d", width=8, window_vox=16, combine="concat")
    network = build_network(config, modalities=("ct", "mr"), num_classes=3)
    assert network(windows(network)).logits["mr"].shape == (2, 3, 16, 16, 16)


def gradients(network: CMCNetwork, images: dict[str, torch.Tensor], presence: torch.Tensor) -> list[torch.Tensor]:
    network.zero_grad()
    output = network(images, presence=presence)
    sum(logits.square().mean() for logits in output.logits.values()).backward()
    return [torch.zeros(()) if p.grad is None else p.grad.clone() for p in network.parameters()]


@both
@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
def test_absent_voxels_change_nothing_bit_for_bit(build: Build, poison: float) -> None:
    network = randomise(build(), scale=0.05)
    clean = windows(network)
    presence = torch.tensor([[True, True], [True, False]])
    poisoned = {name: image.clone() for name, image in clean.items()}
    poisoned["mr"][1] = poison
    expected, given = (network(images, presence=presence) for images in (clean, poisoned))
    for name in network.modalities:
        assert torch.equal(given.logits[name], expected.logits[name])
        assert torch.equal(given.features[name], expected.features[name])
    assert given.logits["mr"][1].abs().max() == 0
    for one, other in zip(gradients(network, poisoned, presence), gradients(network, clean, presence), strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)


@both
def test_absent_features_change_no_decoder_bit_for_bit(build: Build) -> None:
    """What the exported decoder does: it gets something in the place of the absent features."""
    network = randomise(build(), scale=0.05)
    image = windows(network)["ct"]
    encoded = network.encode("ct", image)
    presence = torch.tensor([[1.0, 0.0]]).expand(2, 2)
    outputs = []
    for value in (0.0, 7.0, math.nan):
        features = {"ct": encoded.features, "mr": torch.full_like(encoded.features, value)}
        outputs.append(network.decode("ct", features=features, presence=presence, encoded=encoded, image=image))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[0], network({"ct": image}).logits["ct"])


@both
def test_presence_matters(build: Build) -> None:
    network = randomise(build(), scale=0.05)
    images = windows(network)
    alone = network({"ct": images["ct"]}).logits["ct"]
    assert relative(network(images).logits["ct"], alone) > 1e-3


@both
def test_logits_do_not_depend_on_batch_mates(build: Build) -> None:
    network = randomise(build(), scale=0.05).eval()
    images = windows(network, batch=3)
    with torch.no_grad():
        together = network(images).logits
        for index in range(3):
            one = network({name: image[index : index + 1] for name, image in images.items()}).logits
            for name in network.modalities:
                assert relative(one[name], together[name][index : index + 1]) < 1e-5


@pytest.mark.parametrize(("build", "dtype"), [(tiny, torch.bfloat16), (tiny, torch.float16), (cnn, torch.bfloat16)])
def test_finite_under_autocast_with_gradients(build: Build, dtype: torch.dtype) -> None:
    network = randomise(build(), scale=0.05)
    images = windows(network)
    with torch.autocast("cpu", dtype=dtype):
        output = network(images, presence=torch.tensor([[1, 1], [0, 1]]))
    sum(logits.float().square().mean() for logits in output.logits.values()).backward()
    assert all(logits.isfinite().all() for logits in output.logits.values())
    for name, parameter in network.named_parameters():
        # torch 2.13 leaves part of these gradients uninitialised where a bf16 convolution sees 2×2×2 voxels on a CPU,
        # which is why training refuses bf16 there.
        unsound = dtype == torch.bfloat16 and parameter.ndim == 5
        if parameter.grad is not None and not unsound:
            assert parameter.grad.isfinite().all(), name


@both
def test_a_loss_on_features_reaches_the_encoders_only(build: Build) -> None:
    network = randomise(build(), scale=0.05)
    features = network(windows(network)).features
    (features["ct"] * features["mr"]).sum().backward()
    for key, parameter in network.named_parameters():
        if key.startswith("encoders."):
            assert parameter.grad is not None, key
        else:
            assert parameter.grad is None, key


def test_modalities_start_from_the_same_weights() -> None:
    network = tiny()
    for branch in (network.encoders, network.decoders):
        for one, other in zip(branch[0].parameters(), branch[1].parameters(), strict=True):
            assert torch.equal(one, other)
            assert one is not other


def test_mia_statistics_describe_the_last_forward() -> None:
    network = cnn()
    assert set(network.mia_statistics()) == {"tau", "gamma"}
    network(windows(network))
    statistics = network.mia_statistics()
    assert statistics["tau"] == pytest.approx(0.2)
    assert statistics["gamma"] == pytest.approx(0.01)
    attention = network._attention["mr"]
    assert statistics["mr/diagonal"] == pytest.approx(float(torch.stack([a.diagonal() for a in attention]).mean()))
    assert 0 < statistics["ct/entropy"] < math.log(64)


def test_decode_chooses_which_decoders_run() -> None:
    network = cnn()
    output = network(windows(network), decode=["mr"])
    assert set(output.logits) == {"mr"}
    assert set(output.features) == {"ct", "mr"}


def test_wrong_input_is_refused_by_name() -> None:
    network = cnn()
    images = windows(network)
    with pytest.raises(InputError, match=r"'pet' is unknown; give one of ct, mr"):
        network({"pet": images["ct"]})
    with pytest.raises(InputError, match=r"no images"):
        network({})
    with pytest.raises(InputError, match=r"different shapes"):
        network({"ct": images["ct"], "mr": images["mr"][:1]})
    with pytest.raises(InputError, match=r"ct: windows of shape \(2, 1, 8, 8, 8\)"):
        network({"ct": noise(2, 1, 8, 8, 8)})
    with pytest.raises(InputError, match=r"presence of shape \(1, 2\); give \(2, 2\)"):
        network(images, presence=torch.ones(1, 2))
    with pytest.raises(InputError, match=r"no modality present"):
        network(images, presence=torch.tensor([[1, 1], [0, 0]]))
    with pytest.raises(InputError, match=r"\['mr'\] as present without an image"):
        network({"ct": images["ct"]}, presence=torch.ones(2, 2))
    encoded = network.encode("ct", images["ct"])
    with pytest.raises(InputError, match=r"no features of \['mr'\]"):
        network.decode(
            "ct",
            features={"ct": encoded.features},
            presence=torch.ones(2, 2),
            encoded=encoded,
            image=images["ct"],
        )
    with pytest.raises(InputError, match=r"decode asks for 'mr'"):
        network({"ct": images["ct"]}, decode=["mr"])
