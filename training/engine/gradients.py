"""Gradients across processes: the mean, its norm, and the name of one that is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from lightning_fabric import Fabric
from torch import nn

__all__ = ["average_gradients", "first_not_finite", "gradient_norm", "scale_gradients"]


def average_gradients(parameters: Sequence[nn.Parameter], *, fabric: Fabric) -> None:
    """Replace each gradient by its mean over all processes, in place.

    The stages and modality dropout leave some parameters without a gradient, and not the same ones in every process.
    A parameter that any process has a gradient for counts as zero in the others; one that none has stays without, so
    that the optimiser passes it over exactly as in a single process. One message carries all of it.

    Args:
        parameters: The trainable parameters, in the same order everywhere.
        fabric: Launched; with one process this does nothing.
    """
    if fabric.world_size == 1 or not parameters:
        return
    device = parameters[0].device
    has_gradient = torch.tensor([item.grad is not None for item in parameters], dtype=torch.float32, device=device)
    anywhere = _sum(has_gradient, fabric=fabric) > 0
    shared = [item for item, used in zip(parameters, anywhere.tolist(), strict=True) if used]
    if not shared:
        return
    flat = torch.cat([(torch.zeros_like(item) if item.grad is None else item.grad).flatten() for item in shared])
    flat = _sum(flat, fabric=fabric) / fabric.world_size
    offset = 0
    for item in shared:
        item.grad = flat[offset : offset + item.numel()].view_as(item)
        offset += item.numel()


def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """L2 norm over all gradients, 0-D f32 on the parameters' device."""
    norms = [torch.linalg.vector_norm(item.grad) for item in parameters if item.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def scale_gradients(parameters: Iterable[nn.Parameter], *, factor: float) -> None:
    """Multiply all gradients by `factor`, in place."""
    for item in parameters:
        if item.grad is not None:
            item.grad.mul_(factor)


def first_not_finite(module: nn.Module) -> str | None:
    """Name of the first parameter of `module` whose gradient holds NaN or infinity."""
    for name, item in module.named_parameters():
        if item.grad is not None and not bool(torch.isfinite(item.grad).all()):
            return name
    return None


def _sum(tensor: torch.Tensor, *, fabric: Fabric) -> torch.Tensor:
    total = fabric.all_reduce(tensor, reduce_op="sum")
    if not isinstance(total, torch.Tensor):
        raise TypeError(f"all_reduce gave {type(total).__name__} for a tensor")
    return total
