"""Starting from public weights: SAM-Med3D for the transformer, the released code's U-Net for `unet3d`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from cmc_sdk.errors import CheckpointError
from cmc_sdk.training.model.config import PRESETS
from cmc_sdk.training.model.encoder import SamMed3DEncoder
from cmc_sdk.training.model.network import CMCNetwork
from cmc_sdk.training.model.torch_file import LoadReport, fit_faults, read_state_dict
from cmc_sdk.training.model.unet3d import UNet3DEncoder

__all__ = ["load_sam_med3d", "load_unet3d"]

_IMAGE_ENCODER = "image_encoder."
_MASK_DECODER = "mask_decoder."
_Encoder = TypeVar("_Encoder", SamMed3DEncoder, UNet3DEncoder)


def load_sam_med3d(target: SamMed3DEncoder | CMCNetwork, path: str | os.PathLike[str]) -> LoadReport:
    """Load SAM-Med3D weights (`sam_med3d_turbo.pth`, or a state dict of its encoder) into an encoder or a network.

    A network gets them in the encoder of every modality, and `mask_decoder.output_upscaling` in every decoder where
    the file holds it. Adapters keep their fresh weights.

    Args:
        target: What `build_encoder` or `build_network` made; changed in place.
        path: The checkpoint: a dict with `model_state_dict`, or a bare state dict.

    Returns:
        What matched, what the decoders could have taken but is not there, and what was left over.

    Raises:
        CheckpointError: The file cannot be read, or not all tensors of the encoder match (189 for `base`). Nothing is
            loaded then.
    """
    encoders = _encoders(target, SamMed3DEncoder, hint="load_sam_med3d needs the sam_med3d backbone")
    state = read_state_dict(path)
    if not any(key.startswith(_IMAGE_ENCODER) for key in state):
        state = {_IMAGE_ENCODER + key: value for key, value in state.items()}
    needed = {_IMAGE_ENCODER + key: value for key, value in encoders[0].state_dict().items() if ".adapter." not in key}
    _check_all(path, needed, state, mend=_encoder_hint(encoders[0], state))
    matched = set(needed)
    optional: set[str] = set()
    for encoder in encoders:
        _copy(encoder, state, prefix=_IMAGE_ENCODER, names=needed)
    if isinstance(target, CMCNetwork):
        upscaling = {
            _MASK_DECODER + key: value
            for key, value in target.decoders[0].state_dict().items()
            if key.startswith("output_upscaling.")
        }
        optional = set(upscaling)
        if any(key in state for key in upscaling):
            _check_all(path, upscaling, state, mend="give a file with the whole mask decoder, or none of it")
            for decoder in target.decoders:
                _copy(decoder, state, prefix=_MASK_DECODER, names=upscaling)
            matched |= optional
    return _report(state, matched=matched, wanted=matched | optional)


def load_unet3d(target: UNet3DEncoder | CMCNetwork, path: str | os.PathLike[str]) -> LoadReport:
    """Load the public U-Net (keys `down_tr*` and `up_tr*`) into a `unet3d` encoder or network of width 64.

    Its running means and variances have no place in a network without batch statistics: they are left over.

    Args:
        target: A `unet3d` encoder or network; changed in place.
        path: The checkpoint; the prefixes `module.` and `backbone.` are taken off.

    Returns:
        What matched, which decoder tensors are not there, and what was left over.

    Raises:
        CheckpointError: The file cannot be read, or not all tensors of the encoder match. Nothing is loaded then.
    """
    encoders = _encoders(target, UNet3DEncoder, hint="load_unet3d needs the unet3d backbone")
    state = read_state_dict(path, strip=("module.", "backbone.", "image_encoder.", "decoder."))
    needed = dict(encoders[0].state_dict())
    _check_all(path, needed, state, mend="give a file with all down_tr* tensors, and build with width 64")
    matched = set(needed)
    optional: set[str] = set()
    for encoder in encoders:
        _copy(encoder, state, prefix="", names=needed)
    if isinstance(target, CMCNetwork):
        ups = {key: value for key, value in target.decoders[0].state_dict().items() if key.startswith("up_tr")}
        optional = set(ups)
        if any(key in state for key in ups):
            _check_all(path, ups, state, mend="give a file with all up_tr* tensors, or none of them")
            for decoder in target.decoders:
                _copy(decoder, state, prefix="", names=ups)
            matched |= optional
    return _report(state, matched=matched, wanted=matched | optional)


def _encoders(target: nn.Module, kind: type[_Encoder], *, hint: str) -> list[_Encoder]:
    encoders: list[nn.Module] = list(target.encoders) if isinstance(target, CMCNetwork) else [target]
    fitting = [encoder for encoder in encoders if isinstance(encoder, kind)]
    if len(fitting) < len(encoders):
        raise CheckpointError(f"the target's encoders are {type(encoders[0]).__name__}", mend=hint)
    return fitting


def _check_all(
    path: str | os.PathLike[str], needed: Mapping[str, Tensor], state: Mapping[str, Tensor], *, mend: str
) -> None:
    faults = fit_faults(needed, state, exact=False)
    if faults:
        raise CheckpointError(f"{path}: does not fit: {'; '.join(faults)}", mend=mend)


def _encoder_hint(encoder: SamMed3DEncoder, state: Mapping[str, Tensor]) -> str:
    """Which preset the checkpoint is of, where its tensors tell."""
    patches = state.get(_IMAGE_ENCODER + "patch_embed.proj.weight")
    position = state.get(_IMAGE_ENCODER + "pos_embed")
    if patches is not None and position is not None and patches.dim() == 5:
        for name, preset in PRESETS.items():
            if patches.shape[0] == preset.dim and patches.shape[-1] == preset.patch:
                mine = next(key for key, value in PRESETS.items() if value == encoder.preset)
                window = position.shape[1] * preset.patch
                return (
                    f"the checkpoint is of preset {name} with window_vox {window}, the network of preset {mine} with "
                    f"window_vox {encoder.grid * PRESETS[mine].patch}: build it as the checkpoint is"
                )
    return "give a SAM-Med3D checkpoint (sam_med3d_turbo.pth) with its whole image encoder"


def _copy(module: nn.Module, state: Mapping[str, Tensor], *, prefix: str, names: Iterable[str]) -> None:
    own = module.state_dict()
    with torch.no_grad():
        for name in names:
            own[name.removeprefix(prefix)].copy_(state[name])


def _report(state: Mapping[str, Tensor], *, matched: set[str], wanted: set[str]) -> LoadReport:
    return LoadReport(
        matched=tuple(sorted(matched)),
        missing=tuple(sorted(wanted - matched)),
        unexpected=tuple(sorted(set(state) - matched)),
    )
