"""The codebook: keys, influence radii, and which entry lies nearest (paper, Section 3.2).

This module knows nothing about models, images or transformations. Letters: B = queries,
N = entries held, D = width of a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def euclidean(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """(B, D), (N, D) -> (B, N) Euclidean distances, without the matrix-product shortcut, whose
    rounding would show near zero."""
    return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist")


def cosine(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """(B, D), (N, D) -> (B, N) cosine distances, 1 - cos, between 0 and 2."""
    return (1 - F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).T).clamp_min(0)


DISTANCES: dict[str, Distance] = {"euclidean": euclidean, "cosine": cosine}


@dataclass(frozen=True)
class Match:
    """The nearest entry to one query, and whether the query lies inside its radius (Eq. 1)."""

    id: str
    distance: float
    radius: float

    @property
    def inside(self) -> bool:
        """True when the entry's transformation answers the query."""
        return self.distance <= self.radius


class Codebook:
    """Entries in the order they were added. Growth is explicit; a look-up changes nothing."""

    def __init__(self, distance: Distance) -> None:
        self._distance = distance
        self._ids: list[str] = []
        self._radii: list[float] = []
        self._keys: torch.Tensor | None = None  # (N, D) float32

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """Entry ids, oldest first."""
        return tuple(self._ids)

    def add(self, entry_id: str, key: torch.Tensor, radius: float) -> None:
        """Add one entry; key: (D,). Radii of the others stay as they are."""
        if entry_id in self._ids:
            raise ValueError(f"entry '{entry_id}' is already held")
        row = key.detach().to(torch.float32)[None]
        self._keys = row if self._keys is None else torch.cat([self._keys, row.to(self._keys)])
        self._ids.append(entry_id)
        self._radii.append(float(radius))

    def remove(self, entry_id: str) -> None:
        """Drop one entry; the others keep their order, keys and radii."""
        at = self._ids.index(entry_id)
        del self._ids[at], self._radii[at]
        assert self._keys is not None
        kept = [i for i in range(len(self._keys)) if i != at]
        self._keys = self._keys[kept] if kept else None

    def distances(self, queries: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (B, N) distances to every entry, in the order of `ids`."""
        queries = queries.to(torch.float32)
        if self._keys is None:
            return queries.new_zeros((len(queries), 0))
        if self._keys.device != queries.device:
            self._keys = self._keys.to(queries.device)
        return self._distance(queries, self._keys)

    def nearest(self, queries: torch.Tensor) -> list[Match | None]:
        """(B, D) -> the nearest entry of each query, or None where none is held.

        Of entries equally near, the newest is taken: it is the later word on the same fact.
        """
        if not self._ids:
            return [None] * len(queries)
        distances = self.distances(queries)
        newest_first = torch.flip(distances, dims=[1])
        at = distances.shape[1] - 1 - newest_first.argmin(dim=1)
        values = distances.gather(1, at[:, None])[:, 0].tolist()
        return [
            Match(self._ids[i], d, self._radii[i]) for i, d in zip(at.tolist(), values, strict=True)
        ]

    def ranked(self, query: torch.Tensor) -> list[Match]:
        """(D,) -> every entry as seen from the query, nearest first."""
        distances = self.distances(query[None])[0].tolist()
        matches = [
            Match(i, d, r) for i, d, r in zip(self._ids, distances, self._radii, strict=True)
        ]
        return sorted(matches, key=lambda m: m.distance)
