"""The SAM-Med3D encoder: the public keys, the padded reference, freezing, adapters."""

from __future__ import annotations

import pytest
import torch

from cmc_sdk.errors import ConfigError
from cmc_sdk.training.model import build_encoder
from cmc_sdk.training.model.config import PRESETS
from cmc_sdk.training.model.encoder import SamMed3DEncoder
from tests.reference import padded_encoder
from tests.training.model.networks import PADDED, noise, randomise, relative


def public_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, 8, 8, 8, 768),
        "patch_embed.proj.weight": (768, 1, 16, 16, 16),
        "patch_embed.proj.bias": (768,),
        "neck.0.weight": (384, 768, 1, 1, 1),
        "neck.2.weight": (384, 384, 3, 3, 3),
    }
    for index in (1, 3):
        shapes |= {f"neck.{index}.weight": (384,), f"neck.{index}.bias": (384,)}
    for index in range(12):
        block = f"blocks.{index}"
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (768,), f"{block}.{norm}.bias": (768,)}
        shapes |= {f"{block}.attn.qkv.weight": (2304, 768), f"{block}.attn.qkv.bias": (2304,)}
        shapes |= {f"{block}.attn.proj.weight": (768, 768), f"{block}.attn.proj.bias": (768,)}
        for axis in "dhw":
            shapes[f"{block}.attn.rel_pos_{axis}"] = (15 if index in (2, 5, 8, 11) else 27, 64)
        shapes |= {f"{block}.mlp.lin1.weight": (3072, 768), f"{block}.mlp.lin1.bias": (3072,)}
        shapes |= {f"{block}.mlp.lin2.weight": (768, 3072), f"{block}.mlp.lin2.bias": (768,)}
    return shapes


def test_base_has_the_public_keys_and_shapes() -> None:
    with torch.device("meta"):
        encoder = SamMed3DEncoder(PRESETS["base"], window_vox=128, adapters=False)
    shapes = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    assert shapes == public_shapes()
    assert len(shapes) == 189
    assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 2) == 92.92


def test_encoder_equals_the_padded_one() -> None:
    encoder = SamMed3DEncoder(PADDED, window_vox=24, adapters=False)
    randomise(encoder)
    image = noise(2, 1, 24, 24, 24)
    state = dict(encoder.named_parameters())
    expected = padded_encoder.encode(state, image, heads=2, window=5, global_blocks=(1,))
    assert relative(encoder(image), expected) < 1e-5
    weight = torch.randn_like(expected)
    given = torch.autograd.grad((encoder(image) * weight).sum(), list(state.values()))
    wanted = torch.autograd.grad((expected * weight).sum(), list(state.values()))
    for one, other in zip(given, wanted, strict=True):
        assert one.isfinite().all()
        assert relative(one, other) < 1e-4


@pytest.mark.slow
def test_base_equals_the_padded_one() -> None:
    """All twelve blocks with random positions and biases, f32; gradients too."""
    encoder = build_encoder("base")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, parameter in encoder.named_parameters():
            if "rel_pos" in key or key.endswith("bias"):
                parameter.normal_(0, 0.3, generator=generator)
    image = noise(1, 1, 128, 128, 128)
    state = dict(encoder.named_parameters())
    given = encoder(image)
    weight = noise(*given.shape, seed=3)
    gradients = torch.autograd.grad((given * weight).sum(), list(state.values()))
    expected = padded_encoder.encode(state, image, heads=12, window=14, global_blocks=(2, 5, 8, 11), save_memory=True)
    wanted = torch.autograd.grad((expected * weight).sum(), list(state.values()))
    assert relative(given, expected) < 1e-5
    for one, other in zip(gradients, wanted, strict=True):
        assert one.isfinite().all()
        assert float((one - other).norm()) <= 1e-4 * float(other.norm())


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_presets_have_their_window_grid_and_skips(preset: str) -> None:
    encoder = build_encoder(preset)  # type: ignore[arg-type]
    sizes = PRESETS[preset]  # type: ignore[index]
    window, grid = sizes.window_vox, sizes.window_vox // sizes.patch
    with torch.no_grad():
        features, skips = encoder.encode(noise(1, 1, window, window, window))
    assert features.shape == (1, sizes.channels, grid, grid, grid)
    assert [tuple(skip.shape) for skip in skips] == [(1, sizes.dim, grid, grid, grid)] * (sizes.stages - 1)


def test_skips_are_the_tokens_after_their_blocks() -> None:
    encoder = SamMed3DEncoder(PADDED, window_vox=24, adapters=False)
    after: list[torch.Tensor] = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda _module, _inputs, out: after.append(out))
    _, skips = encoder.encode(noise(1, 1, 24, 24, 24))
    torch.testing.assert_close(skips[0], after[1].movedim(-1, 1))
    torch.testing.assert_close(skips[1], after[0].movedim(-1, 1))


def test_fresh_adapters_reproduce_the_encoder_exactly() -> None:
    plain, adapted = build_encoder("tiny"), build_encoder("tiny", adapters=True)
    fresh = adapted.state_dict()
    adapted.load_state_dict({**fresh, **plain.state_dict()})
    image = noise(1, 1, 48, 48, 48)
    with torch.no_grad():
        assert torch.equal(adapted(image), plain(image))
        adapted.blocks[0].adapter.up.weight.normal_()
        assert not torch.equal(adapted(image), plain(image))


def test_the_adapter_follows_the_mlp_residual() -> None:
    """h ← h + s·W_up( GELU( DWConv( W_down h ) ) ) on the plain block's output."""
    encoder = randomise(build_encoder("tiny", window_vox=16, adapters=True))
    block, h = encoder.blocks[0], noise(1, 2, 2, 2, 96)
    adapter, block.adapter = block.adapter, None
    plain = block(h)
    block.adapter = adapter
    hidden = plain @ adapter.down.weight.T + adapter.down.bias
    kernel, padded = adapter.depthwise.weight[:, 0], torch.nn.functional.pad(hidden, (0, 0, 1, 1, 1, 1, 1, 1))
    mixed = torch.zeros_like(hidden)
    for place in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        x, y, z = place
        patch = padded[0, x : x + 3, y : y + 3, z : z + 3]  # (3, 3, 3, bottleneck)
        mixed[0, x, y, z] = torch.einsum("xyzc,cxyz->c", patch, kernel) + adapter.depthwise.bias
    expected = plain + adapter.scale * (torch.nn.functional.gelu(mixed) @ adapter.up.weight.T + adapter.up.bias)
    assert relative(block(h), expected) < 1e-5


def test_a_fresh_adapter_passes_gradient_to_its_last_layer_only() -> None:
    encoder = build_encoder("tiny", window_vox=16, adapters=True)
    encoder(noise(1, 1, 16, 16, 16)).square().sum().backward()
    adapter = encoder.blocks[0].adapter
    assert adapter.up.weight.grad.abs().max() > 0
    assert adapter.down.weight.grad.abs().max() == 0


@pytest.mark.parametrize("train_mlp", [True, False])
def test_frozen_are_patches_position_attention(train_mlp: bool) -> None:
    encoder = randomise(build_encoder("tiny", window_vox=16, adapters=True), scale=0.05)
    encoder.freeze(train_mlp=train_mlp)
    encoder(noise(1, 1, 16, 16, 16)).square().sum().backward()
    always = ("patch_embed", "pos_embed", ".attn.")
    frozen = always if train_mlp else (*always, ".norm1.", ".norm2.", ".mlp.")
    for key, parameter in encoder.named_parameters():
        if any(part in f".{key}" for part in frozen):
            assert parameter.grad is None, key
        else:
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key


def test_weights_come_from_the_seed_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (build_encoder("tiny", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.pos_embed, again.pos_embed)
    assert not torch.equal(first.pos_embed, other.pos_embed)


def test_a_window_that_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(ConfigError, match=r"window_vox 120 with preset tiny.*multiple of 8 from 16 to 112"):
        build_encoder("tiny", window_vox=120)
    with pytest.raises(ConfigError, match=r"window_vox 20"):
        build_encoder("tiny", window_vox=20)
    with pytest.raises(ConfigError, match=r"'huge' is unknown; choose one of base, small, tiny"):
        build_encoder("huge")  # type: ignore[arg-type]
