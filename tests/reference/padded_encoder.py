"""The SAM-Med3D encoder written plainly: windows padded with zeros, every pad token in the softmax.

Works on a state dict with the public keys. Slow and large on purpose: with window 14 each windowed block holds
logits of 2744 x 2744 per head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

State = Mapping[str, Tensor]


def encode(
    state: State,
    image: Tensor,
    *,
    heads: int,
    window: int,
    global_blocks: tuple[int, ...],
    save_memory: bool = False,
) -> Tensor:
    """Features (B, C, g, g, g) of windows (B, 1, X, Y, Z); `save_memory` recomputes each block in the backward pass."""
    patches = state["patch_embed.proj.weight"]
    x = F.conv3d(image, patches, state["patch_embed.proj.bias"], stride=patches.shape[-1])
    x = x.movedim(1, -1) + state["pos_embed"]
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    for index in range(depth):
        own = {key.split(".", 2)[2]: value for key, value in state.items() if key.startswith(f"blocks.{index}.")}
        size = x.shape[1] if index in global_blocks else window
        if save_memory:
            x = checkpoint(block, own, x, heads=heads, window=size, use_reentrant=False)
        else:
            x = block(own, x, heads=heads, window=size)
    x = F.conv3d(x.movedim(-1, 1), state["neck.0.weight"])
    x = channel_norm(x, state["neck.1.weight"], state["neck.1.bias"])
    x = F.conv3d(x, state["neck.2.weight"], padding=1)
    return channel_norm(x, state["neck.3.weight"], state["neck.3.bias"])


def block(own: State, x: Tensor, *, heads: int, window: int) -> Tensor:
    """One transformer block on tokens (B, g, g, g, dim)."""
    grid = x.shape[1]
    h = F.layer_norm(x, x.shape[-1:], own["norm1.weight"], own["norm1.bias"], eps=1e-6)
    pad = window - grid
    h = F.pad(h, (0, 0, 0, pad, 0, pad, 0, pad))
    h = attention(own, h, heads=heads)
    x = x + h[:, :grid, :grid, :grid]
    h = F.layer_norm(x, x.shape[-1:], own["norm2.weight"], own["norm2.bias"], eps=1e-6)
    h = F.gelu(F.linear(h, own["mlp.lin1.weight"], own["mlp.lin1.bias"]))
    return x + F.linear(h, own["mlp.lin2.weight"], own["mlp.lin2.bias"])


def attention(own: State, x: Tensor, *, heads: int) -> Tensor:
    """Attention among all n³ tokens of (B, n, n, n, dim), with the position bias of the public weights."""
    batch, n, _, _, dim = x.shape
    width = dim // heads
    qkv = F.linear(x, own["attn.qkv.weight"], own["attn.qkv.bias"])
    q, k, v = (part.reshape(batch, n, n, n, heads, width).movedim(4, 1) for part in qkv.chunk(3, dim=-1))
    logits = torch.einsum("bmdhwc,bmxyzc->bmdhwxyz", q, k) * width**-0.5
    logits = logits + position_bias(own, q)
    weights = logits.reshape(batch, heads, n**3, n**3).softmax(dim=-1)
    out = weights @ v.reshape(batch, heads, n**3, width)
    out = out.reshape(batch, heads, n, n, n, width).movedim(1, 4).reshape(batch, n, n, n, dim)
    return F.linear(out, own["attn.proj.weight"], own["attn.proj.bias"])


def position_bias(own: State, q: Tensor) -> Tensor:
    """Bias (B, heads, d, h, w, kd, kh, kw) from queries (B, heads, n, n, n, width)."""
    n = q.shape[2]
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :] + n - 1
    towards_d, towards_h, towards_w = (own[f"attn.rel_pos_{axis}"][distance] for axis in "dhw")
    t1 = torch.einsum("bmdhwc,dkc->bmdhwk", q, towards_d)
    t2 = torch.einsum("bmdhxc,hkc->bmdhxk", q, towards_h)
    t3 = torch.einsum("bmdhyc,ykc->bmdhyk", q, towards_w)
    bias = t2[:, :, :, :, None, :, None, :] + t3[:, :, :, :, None, None, :, :]
    return bias + t1[:, :, :, :, :, None, None, :]


def position_bias_by_loops(own: State, q: Tensor) -> Tensor:
    """The same bias, one query and one key at a time, for one sample and one head: q is (n, n, n, width)."""
    n = q.shape[0]
    table_d, table_h, table_w = (own[f"attn.rel_pos_{axis}"] for axis in "dhw")
    bias = torch.empty(n, n, n, n, n, n)
    for d, h, w, kd, kh, kw in torch.cartesian_prod(*[torch.arange(n)] * 6).tolist():
        bias[d, h, w, kd, kh, kw] = (
            q[d, h, w] @ table_d[d - kw + n - 1]
            + q[d, h, kd] @ table_h[h - kw + n - 1]
            + q[d, h, kh] @ table_w[kh - kw + n - 1]
        )
    return bias


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the channels of (B, C, X, Y, Z)."""
    mean = x.mean(dim=1, keepdim=True)
    variance = (x - mean).square().mean(dim=1, keepdim=True)
    normalised = (x - mean) / (variance + 1e-6).sqrt()
    return normalised * weight[:, None, None, None] + bias[:, None, None, None]
