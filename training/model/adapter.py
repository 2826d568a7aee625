"""The adapter that fine-tunes a frozen transformer block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Adapter"]


class Adapter(nn.Module):
    """h ← h + s·W_up( GELU( DWConv3³( W_down h ) ) ), after the MLP residual of a block (paper, figure 1).

    W_up starts at zero, so at step 0 the block is exactly the pre-trained one; s is learned, from 1.

    Args:
        dim: Token width.
        bottleneck: Width between W_down and W_up.
    """

    def __init__(self, dim: int, *, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, bottleneck)
        self.depthwise = nn.Conv3d(bottleneck, bottleneck, kernel_size=3, padding=1, groups=bottleneck)
        self.up = nn.Linear(bottleneck, dim)
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        """Tokens (B, g, g, g, dim) → the same shape."""
        hidden = self.down(h).permute(0, 4, 1, 2, 3)  # (B, bottleneck, g, g, g)
        hidden = nn.functional.gelu(self.depthwise(hidden)).permute(0, 2, 3, 4, 1)
        adapted: Tensor = h + self.scale * self.up(hidden)
        return adapted
