"""How far a query lies from a key, and what a cheap bound must know about it.

Letters: B = queries, N = keys, D = width of a key.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F

_UNIT = 2.0**-24  # float32 rounds by at most this share
_TINY = 2.0**-120  # far above what float32 takes for nothing
_PAIRS = 2**22  # numbers multiplied at once


class Distance(Protocol):
    """A distance between float32 vectors. On the CPU a pair's value is the same, bit for bit,
    whichever other pairs are computed beside it: a search that skips keys decides as one that
    does not."""

    def __call__(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, D), (N, D) -> (B, N) distances."""

    def embedded(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, D) float64 points; `reach` says what their Euclidean distances tell."""

    def reach(self, distance: torch.Tensor, width: int) -> torch.Tensor:
        """The squared Euclidean distance between two points beyond which their distance, as
        computed, cannot be as small as `distance` (float64, any shape); width: D."""


class _Euclidean:
    """The length of the difference, without the matrix-product shortcut, whose rounding would show
    near zero."""

    def __call__(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """See `Distance`."""
        return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist")

    def embedded(self, vectors: torch.Tensor) -> torch.Tensor:
        """The vectors themselves."""
        return vectors.double()

    def reach(self, distance: torch.Tensor, width: int) -> torch.Tensor:
        """Its square, and what a sum of D squares may lose by rounding, or by being too small."""
        return distance.square() * (1 + 2 * (width + 8) * _UNIT) + width * _TINY


class _Cosine:
    """1 - cos, between 0 and 2; 1 where either vector is zero."""

    def __call__(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """See `Distance`."""
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
        step = max(1, _PAIRS // max(1, keys.numel()))
        products = [(q[:, None] * keys).sum(-1) for q in queries.split(step)]
        return (1 - torch.cat(products)).clamp_min(0)

    def embedded(self, vectors: torch.Tensor) -> torch.Tensor:
        """The directions. Half the squared distance of two is 1 - cos, and less than the 1 that
        stands for a zero vector."""
        return F.normalize(vectors, dim=-1).double()

    def reach(self, distance: torch.Tensor, width: int) -> torch.Tensor:
        """Twice the distance, and what a sum of D products may be off by."""
        return 2 * (distance + 2 * (width + 8) * _UNIT)


euclidean: Distance = _Euclidean()
cosine: Distance = _Cosine()

DISTANCES: dict[str, Distance] = {"euclidean": euclidean, "cosine": cosine}
