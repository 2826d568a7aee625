"""Self-attention of SAM-Med3D on a cubic token grid, with padded windows in their exact short form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cmc_sdk.training.model.norms import full_precision

__all__ = ["GridAttention"]


class GridAttention(nn.Module):
    """Multi-head attention over g³ tokens as the public SAM-Med3D weights know it, in g³ × (g³ + 1) instead of n³ × n³.

    The public encoder pads the grid g to a window n with zeros after norm1, and the n³ − g³ pad tokens take part in the
    softmax: each has the key bias b_k as its key, the value bias b_v as its value and b_q as its query. They
    share key and value, so together they are one virtual key with value b_v and logit

        s·q·b_k + LSE_kw( T1[kw] + P[kw] ),    s = head_dim^-1/2
        P[kw] = logaddexp( LSE_{kd≥g} T2 + LSE_{kh<n} T3 , LSE_{kd<g} T2 + LSE_{kh≥g} T3 )    for kw < g
        P[kw] = LSE_{kd<n} T2 + LSE_{kh<n} T3                                                for kw ≥ g

    The two regions of kw < g are disjoint; writing P as "all minus real" would cancel and give infinite gradients.
    Relative position is added on the axes that the public weights were trained with (SAM-Med3D issue #101), which are
    not the intended ones:

        bias = T1[d,h,w; kw] + T2[d,h; kd,kw] + T3[d,h; kh,kw]
        T1[d,h,w; kw] = q(d,h,w) · Rd[d, kw]     T2[d,h; kd,kw] = q(d,h,kd) · Rh[h, kw]
        T3[d,h; kh,kw] = q(d,h,kh) · Rw[kh, kw]     R[i, j] = table[i − j + n − 1]

    Logits, log-sum-exp and softmax are FP32 under autocast too.

    Args:
        dim: Token width.
        heads: Number of heads; divides dim.
        grid: Tokens per axis, g.
        window: Tokens per axis after padding, n ≥ g; equal for blocks without padding.
    """

    def __init__(self, dim: int, *, heads: int, grid: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.grid = grid
        self.window = window
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        for axis in "dhw":
            self.register_parameter(f"rel_pos_{axis}", nn.Parameter(torch.zeros(2 * window - 1, dim // heads)))
        index = torch.arange(window)[:, None] - torch.arange(window)[None, :] + window - 1
        self.register_buffer("relative_index", index, persistent=False)

    relative_index: Tensor
    rel_pos_d: Tensor
    rel_pos_h: Tensor
    rel_pos_w: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, g, g, g, dim) → the same shape."""
        g = self.grid
        tokens = g**3
        qkv = self.qkv(x).reshape(-1, tokens, 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, g³, head_dim)
        t1, t2, t3 = self._position_terms(q)

        logits = torch.matmul(q * self.scale, k.transpose(-2, -1)).float()
        # (B, heads, dh, kd, kh, kw): what depends on the query's d and h only.
        shared = t2[..., :, None, :g] + t3[..., None, :, :g]
        logits = logits.reshape(-1, self.heads, g * g, g, g * g, g)  # (B, heads, dh, w, kd·kh, kw)
        logits = logits + shared.reshape(-1, self.heads, g * g, 1, g * g, g)
        logits = logits + t1[..., None, :g]
        logits = logits.reshape(-1, self.heads, tokens, tokens)
        if self.window > g:
            bias_q, bias_k, bias_v = self.qkv.bias.reshape(3, self.heads, -1, 1).unbind(0)  # each (heads, head_dim, 1)
            to_pad = torch.matmul(q * self.scale, bias_k.to(q.dtype)).float()
            to_pad = to_pad + self._pad_log_sum(t1, t2, t3, bias_q).reshape(-1, self.heads, tokens, 1)
            weights = torch.cat((logits, to_pad), dim=-1).softmax(dim=-1).to(v.dtype)
            out = torch.matmul(weights[..., :tokens], v)
            out = out + weights[..., tokens:] * bias_v.to(v.dtype).transpose(-2, -1)
        else:
            out = torch.matmul(logits.softmax(dim=-1).to(v.dtype), v)
        out = out.permute(0, 2, 1, 3).reshape(-1, g, g, g, x.shape[-1])  # (B, g³, heads, head_dim) → tokens
        projected: Tensor = self.proj(out)
        return projected

    def _position_terms(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T1 (B, heads, dh, w, n), T2 (B, heads, dh, kd, n) and T3 (B, heads, dh, kh, n), FP32, dh = g²; kd, kh < g."""
        g, n, width = self.grid, self.window, q.shape[-1]
        index = self.relative_index[:g]
        towards_d = self.rel_pos_d[index].transpose(-2, -1).to(q.dtype)  # (g, head_dim, n)
        towards_h = self.rel_pos_h[index].transpose(-2, -1).to(q.dtype)
        towards_w = self.rel_pos_w[index].transpose(-2, -1).to(q.dtype)
        by_d = q.reshape(-1, self.heads, g, g * g, width)
        by_dh = q.reshape(-1, self.heads, g, g, g, width)
        by_w = q.reshape(-1, self.heads, g * g, g, width).transpose(2, 3)
        t1 = torch.matmul(by_d, towards_d).reshape(-1, self.heads, g * g, g, n)
        t2 = torch.matmul(by_dh, towards_h).reshape(-1, self.heads, g * g, g, n)
        t3 = torch.matmul(by_w, towards_w).transpose(2, 3)  # (B, heads, kh, dh, n) → (B, heads, dh, kh, n)
        return t1.float(), t2.float(), t3.float()

    def _pad_log_sum(self, t1: Tensor, t2: Tensor, t3: Tensor, bias_q: Tensor) -> Tensor:
        """LSE over all pad tokens of their position bias, (B, heads, dh, w), FP32."""
        g, pad = self.grid, self.window - self.grid
        with full_precision(t1):
            query = bias_q.float()
            table_h = self.rel_pos_h[self.relative_index[:g]].float()  # (g, n, head_dim)
            table_w = self.rel_pos_w[self.relative_index[g:]].float()  # (pad, n, head_dim)
            # T2 at kd ≥ g is the same for every kd: (heads, h, n) → (heads, dh, n).
            t2_pad = torch.matmul(table_h, query[:, None]).squeeze(-1) + math.log(pad)
            t2_pad = t2_pad.repeat(1, g, 1)
            t3_pad = _log_sum(torch.matmul(table_w, query[:, None]).squeeze(-1), dim=1)[:, None]  # (heads, 1, n)
            t2_real, t3_real = _log_sum(t2, dim=3), _log_sum(t3, dim=3)  # (B, heads, dh, n)
            t2_all, t3_all = torch.logaddexp(t2_real, t2_pad), torch.logaddexp(t3_real, t3_pad)
            inside = torch.logaddexp((t2_pad + t3_all)[..., :g], (t2_real + t3_pad)[..., :g])
            planes = torch.cat((inside, (t2_all + t3_all)[..., g:]), dim=-1)  # P, (B, heads, dh, n)
            return _log_sum(t1 + planes[..., None, :], dim=-1)


def _log_sum(x: Tensor, *, dim: int) -> Tensor:
    """Log-sum-exp with its maximum taken out by hand: not every backend's ReduceLogSumExp does."""
    largest = x.detach().amax(dim, keepdim=True)
    return (x - largest).exp().sum(dim).log() + largest.squeeze(dim)
