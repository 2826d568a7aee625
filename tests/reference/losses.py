"""The losses in plain numpy, float64, one voxel grid and one class at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def softmax(logits: Array) -> Array:
    """Over axis 1 of (B, K, X, Y, Z)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def supervised(logits: Array, target: npt.NDArray[np.int64], *, smooth: float = 1e-5) -> float:
    """Cross-entropy plus Dice of the classes that the sample has, mean over samples."""
    prob = softmax(logits)
    losses = []
    for p, y in zip(prob, target, strict=True):
        cross_entropy = -np.mean([math.log(p[(y[place], *place)]) for place in np.ndindex(y.shape)])
        dice = []
        for k in range(p.shape[0]):
            mask = (y == k).astype(float)
            if mask.sum() > 0:
                overlap = 2 * (p[k] * mask).sum() + smooth
                dice.append(1 - overlap / ((p[k] ** 2).sum() + (mask**2).sum() + smooth))
        losses.append(cross_entropy + np.mean(dice))
    return float(np.mean(losses))


def cosine(u: Array, v: Array) -> float:
    """Of two vectors."""
    return float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))


def csc(feat_a: Array, feat_b: Array, descriptor: str, *, temperature: float = 0.5) -> float:
    """Mean over samples and channels."""
    values = []
    for sample_a, sample_b in zip(feat_a, feat_b, strict=True):
        maps_a, maps_b = sample_a.reshape(len(sample_a), -1), sample_b.reshape(len(sample_b), -1)
        if descriptor == "nce":
            values += [_nce(maps_a, maps_b, c, temperature) for c in range(len(maps_a))]
            continue
        if descriptor == "quantile":
            levels = np.linspace(0, 1, 16)
            maps_a, maps_b = (np.quantile(maps, levels, axis=1).T for maps in (maps_a, maps_b))
        elif descriptor == "gram":
            maps_a, maps_b = np.corrcoef(maps_a), np.corrcoef(maps_b)
        values += [1 - cosine(u, v) for u, v in zip(maps_a, maps_b, strict=True)]
    return float(np.mean(values))


def _nce(maps_a: Array, maps_b: Array, channel: int, temperature: float) -> float:
    to_b = np.array([cosine(maps_a[channel], other) for other in maps_b]) / temperature
    to_a = np.array([cosine(other, maps_b[channel]) for other in maps_a]) / temperature
    return float(np.mean([math.log(np.exp(row).sum()) - row[channel] for row in (to_b, to_a)]))


def _present(p: Array, q: Array) -> bool:
    return bool(max(p.max(), q.max()) > 0.5)


def cac(prob_a: Array, prob_b: Array) -> float:
    """1 − mean Dice over a sample's present foreground classes, mean over samples."""
    losses = []
    for a, b in zip(prob_a, prob_b, strict=True):
        dice = [
            2 * (p * q).sum() / ((p**2).sum() + (q**2).sum())
            for p, q in zip(a[1:], b[1:], strict=True)
            if _present(p, q)
        ]
        losses.append(1 - np.mean(dice) if dice else 0.0)
    return float(np.mean(losses))


def moments(prob_a: Array, prob_b: Array, body_a: Array, body_b: Array) -> float:
    """Volume shares and second central moments in body-normalised coordinates, voxel by voxel."""
    losses = []
    for a, b, to_a, to_b in zip(prob_a, prob_b, body_a, body_b, strict=True):
        terms = []
        for p, q in zip(a[1:], b[1:], strict=True):
            if _present(p, q):
                (v, s), (w, t) = _moment(p, to_a), _moment(q, to_b)
                terms.append(abs(v - w) + np.linalg.norm(s - t) / (np.linalg.norm(s) + np.linalg.norm(t)))
        losses.append(np.mean(terms) if terms else 0.0)
    return float(np.mean(losses))


def _moment(p: Array, body: Array) -> tuple[float, Array]:
    places = np.array([body @ (*index, 1.0) for index in np.ndindex(p.shape)])
    weights = p.reshape(-1)
    mean = (weights[:, None] * places).sum(axis=0) / weights.sum()
    spread = sum(w * np.outer(x - mean, x - mean) for w, x in zip(weights, places, strict=True)) / weights.sum()
    return float(weights.sum() * abs(np.linalg.det(body[:, :3]))), np.asarray(spread)
