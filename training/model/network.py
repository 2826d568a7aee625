"""The CMC network: encoders, MIA, fusion and decoders of one to three modalities (paper section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from cmc_sdk.errors import InputError
from cmc_sdk.training.model.config import PRESETS, ModelConfig
from cmc_sdk.training.model.decoder import SamMed3DDecoder
from cmc_sdk.training.model.encoder import Encoded, SamMed3DEncoder
from cmc_sdk.training.model.fusion import Fusion, MissingTokens
from cmc_sdk.training.model.mia import Mia
from cmc_sdk.training.model.modules import Modules
from cmc_sdk.training.model.unet3d import UNet3DDecoder, UNet3DEncoder

__all__ = ["CMCNetwork", "NetworkOutput"]


class NetworkOutput(NamedTuple):
    """What `CMCNetwork.forward` returns, by modality.

    Args:
        logits: (B, K, X, Y, Z) of each decoded modality; zeros in the rows where it is absent.
        features: F_ds, the encoders' outputs (B, C, g, g, g), of each modality that is present at all; zeros in the
            rows where it is absent. These are what CSC compares.
    """

    logits: dict[str, Tensor]
    features: dict[str, Tensor]


class CMCNetwork(nn.Module):
    """One encoder and one decoder per modality, one MIA and one fusion for all.

    All modalities' encoders start from the same weights, and so do the decoders, as they do when a public checkpoint is
    loaded: only so do channels correspond between modalities at step 0.

    Args:
        config: What to build.
        modalities: Names, in order; one to three.
        num_classes: K, background included.
    """

    def __init__(self, config: ModelConfig, *, modalities: Sequence[str], num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.modalities = tuple(modalities)
        self.num_classes = num_classes
        self.window_vox = (config.window, config.window, config.window)
        count = len(self.modalities)
        # Lists, not dicts: a ModuleDict refuses names such as "type" that users may give a modality.
        self.encoders = Modules(_build_encoder(config) for _ in range(count))
        self.decoders = Modules(_build_decoder(config, num_classes=num_classes) for _ in range(count))
        for branch in (self.encoders, self.decoders):
            for other in branch[1:]:
                other.load_state_dict(branch[0].state_dict())
        self.channels = self.encoders[0].channels
        self.mia = Mia(self.channels)
        self.missing = MissingTokens(count, channels=self.channels)
        self.fusion = Fusion(count, channels=self.channels, combine=config.combine)
        self._attention: dict[str, Tensor] = {}

    def encode(self, modality: str, image: Tensor) -> Encoded:
        """E^m of windows (B, 1, X, Y, Z) of `modality`: F (B, C, g, g, g) and skips."""
        index = self._index(modality)
        if tuple(image.shape[1:]) != (1, *self.window_vox):
            raise InputError(
                f"{modality}: windows of shape {tuple(image.shape)}", mend=f"give (B, 1, *{self.window_vox})"
            )
        return self.encoders[index].encode(image)

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Tensor],
        presence: Tensor,
        encoded: Encoded,
        image: Tensor,
    ) -> Tensor:
        """Logits (B, K, X, Y, Z) of `modality` from every modality's features: MIA, fusion, decoder.

        Args:
            modality: Whose decoder.
            features: F (B, C, g, g, g) of all modalities; that of an absent one is ignored, whatever it holds.
            presence: (B, M), true or 1 where a modality is present; float or bool.
            encoded: The encoder's output for `modality` (its skips are used).
            image: Windows (B, 1, X, Y, Z) of `modality`.
        """
        index = self._index(modality)
        lacking = [name for name in self.modalities if name not in features]
        if lacking:
            raise InputError(f"no features of {lacking}", mend="give zeros of F's shape for an absent modality")
        own, fused = self._collaborate([features[name] for name in self.modalities], presence=presence)
        combined = self.fusion.combined(own[index], fused=fused)
        return self._decoded(index, combined, encoded=encoded, image=image)

    def decode_alone(self, modality: str, *, encoded: Encoded, image: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of `modality` from its own features: G = F, no MIA, no fusion (stage 1)."""
        return self._decoded(self._index(modality), encoded.features, encoded=encoded, image=image)

    def forward(
        self,
        images: Mapping[str, Tensor],
        *,
        presence: Tensor | None = None,
        decode: Sequence[str] | None = None,
        fuse: bool = True,
    ) -> NetworkOutput:
        """Encode what is present, collaborate, and decode.

        Absent rows are neither encoded nor decoded: nothing of an absent image reaches any output or gradient.

        Args:
            images: Windows (B, 1, X, Y, Z) by modality; one that is absent for the whole batch may be left out.
            presence: (B, M) bool or 0/1 in the order of `modalities`; None: all modalities in `images` are present.
            decode: Which modalities to decode; None for all in `images`.
            fuse: False for stage 1: every modality alone.

        Raises:
            InputError: An unknown modality, shapes that differ, or a sample without any modality.
        """
        wanted = [name for name in self.modalities if name in (images if decode is None else decode)]
        self._check(images, decode)
        batch = next(iter(images.values())).shape[0]
        present = self._presence(images, presence, batch=batch)
        rows = {name: _rows(present[:, self._index(name)]) for name in self.modalities if name in images}
        encoded = {
            name: self.encode(name, _select(images[name], chosen))
            for name, chosen in rows.items()
            if chosen is None or len(chosen)
        }
        features = {name: _spread(value.features, rows[name], batch=batch) for name, value in encoded.items()}
        if fuse:
            inputs = dict(zip(self.modalities, self._combine_all(features, presence=present), strict=True))
        else:
            inputs = features
        logits = {}
        for name in wanted:
            if name in encoded:
                chosen = rows[name]
                image, own = _select(images[name], chosen), _select(inputs[name], chosen)
                decoded = self._decoded(self._index(name), own, encoded=encoded[name], image=image)
                logits[name] = _spread(decoded, chosen, batch=batch)
            else:
                logits[name] = images[name].new_zeros(()).expand(batch, self.num_classes, *self.window_vox)
        return NetworkOutput(logits, features)

    def trainable_parameters(self) -> list[Parameter]:
        """The parameters to optimise: all but the frozen ones."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def mia_statistics(self) -> dict[str, float]:
        """τ, γ, and A's mean diagonal and mean row entropy (nats) per modality in the last forward that fused.

        τ decides everything: a diagonal near 1 means that MIA does nothing, an entropy near log C that A is uniform.
        """
        statistics = {"tau": float(self.mia.tau().detach()), "gamma": float(self.mia.gamma.detach())}
        for name, attention in self._attention.items():
            entropy = -(attention * attention.clamp_min(1e-30).log()).sum(-1).mean()
            statistics[f"{name}/diagonal"] = float(attention.diagonal(dim1=-2, dim2=-1).mean())
            statistics[f"{name}/entropy"] = float(entropy)
        return statistics

    def _index(self, modality: str) -> int:
        if modality not in self.modalities:
            raise InputError(f"modality {modality!r} is unknown", mend=f"give one of {', '.join(self.modalities)}")
        return self.modalities.index(modality)

    def _check(self, images: Mapping[str, Tensor], decode: Iterable[str] | None) -> None:
        if not images:
            raise InputError("no images were given", mend=f"give at least one of {', '.join(self.modalities)}")
        for name in images:
            self._index(name)
        shapes = {name: tuple(image.shape) for name, image in images.items()}
        if len(set(shapes.values())) > 1:
            raise InputError(f"windows of different shapes {shapes}", mend="give one batch size and window to all")
        for name in decode or ():
            self._index(name)
            if name not in images:
                raise InputError(f"decode asks for {name!r}, which has no image", mend="give its image or leave it out")

    def _presence(self, images: Mapping[str, Tensor], presence: Tensor | None, *, batch: int) -> Tensor:
        device = next(iter(images.values())).device
        given = torch.tensor([name in images for name in self.modalities], device=device)
        if presence is None:
            return given.expand(batch, -1)
        if tuple(presence.shape) != (batch, len(self.modalities)):
            raise InputError(
                f"presence of shape {tuple(presence.shape)}", mend=f"give ({batch}, {len(self.modalities)})"
            )
        present = presence.to(device) > 0.5
        if bool((present & ~given).any()):
            missing = [name for name in self.modalities if name not in images]
            raise InputError(f"presence marks {missing} as present without an image", mend="give the image or mark 0")
        if not bool(present.any(dim=1).all()):
            raise InputError("a sample has no modality present", mend="keep at least one modality in every sample")
        return present

    def _collaborate(self, features: Sequence[Tensor], *, presence: Tensor) -> tuple[list[Tensor], Tensor]:
        """F_mia of every modality and Z; the token takes the place of an absent F before MIA."""
        present = presence > 0.5
        own = []
        for index, (name, feature) in enumerate(zip(self.modalities, features, strict=True)):
            mixed, attention = self.mia(self.missing(feature, index=index, presence=present[:, index]))
            own.append(mixed)
            if not torch.compiler.is_compiling():  # an exported graph may not write attributes
                self._attention[name] = attention.detach()
        return own, self.fusion.fused(own)

    def _combine_all(self, features: Mapping[str, Tensor], *, presence: Tensor) -> list[Tensor]:
        """G of every modality; a modality without features gets zeros, which its token replaces."""
        blank = torch.zeros_like(next(iter(features.values())))
        own, fused = self._collaborate([features.get(name, blank) for name in self.modalities], presence=presence)
        return [self.fusion.combined(one, fused=fused) for one in own]

    def _decoded(self, index: int, combined: Tensor, *, encoded: Encoded, image: Tensor) -> Tensor:
        logits: Tensor = self.decoders[index](combined, encoded.skips, image)
        return logits


def _build_encoder(config: ModelConfig) -> SamMed3DEncoder | UNet3DEncoder:
    if config.backbone == "unet3d":
        return UNet3DEncoder(width=config.width, window_vox=config.window)
    return SamMed3DEncoder(PRESETS[config.preset], window_vox=config.window, adapters=config.with_adapters)


def _build_decoder(config: ModelConfig, *, num_classes: int) -> SamMed3DDecoder | UNet3DDecoder:
    if config.backbone == "unet3d":
        return UNet3DDecoder(width=config.width, num_classes=num_classes)
    return SamMed3DDecoder(PRESETS[config.preset], num_classes=num_classes)


def _rows(present: Tensor) -> Tensor | None:
    """Indices of the present rows; None when all are."""
    return None if bool(present.all()) else present.nonzero().squeeze(1)


def _select(batch: Tensor, rows: Tensor | None) -> Tensor:
    return batch if rows is None else batch.index_select(0, rows)


def _spread(values: Tensor, rows: Tensor | None, *, batch: int) -> Tensor:
    """The inverse of `_select`, with zeros in the other rows."""
    return values if rows is None else values.new_zeros((batch, *values.shape[1:])).index_copy(0, rows, values)
