"""A small shadow of many keys that says of most of them, for certain, that they lie too far.

Points are seen in an orthonormal basis of few directions, those in which they spread most, and by
the length of what the basis leaves out. The distance between two such shadows is never larger than
that between the points (Pythagoras, and the triangle inequality for the part left out), so a key
whose shadow lies too far need not be looked at. Rounding is allowed for: bounds come out a little
too small, never too large.

All of it is on the CPU. Letters: B = queries, N = points, D = their width, P = directions kept.
"""

from __future__ import annotations

import torch

from balancedit.codebook.growing import Growing

DIRECTIONS = 126  # P: with two more numbers a shadow is 128 wide, 512 bytes
_SAMPLE = 1024  # points the directions are found from
_SLACK = (DIRECTIONS + 10) * 2.0**-22  # share of the squared lengths that rounding may take
_LARGEST = 1e36  # squared length above which float32 might overflow


class KeyIndex:
    """Shadows of N points, in the order they were added."""

    def __init__(self, sample: torch.Tensor) -> None:
        """sample: (M, D) float64 points like those to come, M ≥ 1; at most 1024 are used. They
        decide how much can be skipped, never what is found."""
        chosen = sample[:: -(-len(sample) // _SAMPLE)]
        chosen = chosen[chosen.square().sum(1) < _LARGEST]
        self._centre = chosen.mean(0) if len(chosen) else torch.zeros_like(sample[0])  # (D,)
        self._basis = _directions(chosen - self._centre)  # (D, P) orthonormal
        self._shadows = Growing(torch.zeros(0, self._basis.shape[1] + 2))

    def __len__(self) -> int:
        return len(self._shadows)

    @property
    def nbytes(self) -> int:
        """Memory that the shadows take."""
        return self._shadows.rows.nbytes

    def add(self, points: torch.Tensor) -> None:
        """Show more points; (n, D) float64."""
        seen, squared = self._seen(points)
        shadows = torch.cat([-2 * seen, squared[:, None] * (1 - _SLACK)], 1)
        unbounded = ~(squared < _LARGEST)  # never skipped
        shadows[unbounded] = 0.0
        shadows[unbounded, -1] = -torch.inf
        self._shadows.append(shadows)

    def drop(self, place: int) -> None:
        """Skip a point from now on; places do not shift."""
        self._shadows.rows[place] = 0.0
        self._shadows.rows[place, -1] = torch.inf

    def keep(self, places: torch.Tensor) -> None:
        """Forget all points but these, in this order."""
        self._shadows.keep(places)

    def bounds(self, queries: torch.Tensor) -> torch.Tensor:
        """(B, D) float64 points -> (B, N) float32, at most their squared distances to every point;
        all -inf for a query that cannot be bounded."""
        seen, squared = self._seen(queries)
        shadows = self._shadows.rows
        sight = torch.cat([seen, torch.ones_like(squared)[:, None]], 1)
        own = (squared * (1 - _SLACK))[:, None]
        if _exact_products():
            bounds = sight.float() @ shadows.T + own.float()
        else:
            bounds = (sight @ shadows.double().T + own).float()
        bounds[~(squared < _LARGEST)] = -torch.inf
        return bounds.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)

    def _seen(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, D) -> (n, P + 1) their shadows, and (n,) squared lengths, all float64."""
        moved = points - self._centre
        inside = moved @ self._basis
        squared = moved.square().sum(1)
        outside = (squared - inside.square().sum(1)).clamp_min(0).sqrt()
        return torch.cat([inside, outside[:, None]], 1), squared


def _directions(points: torch.Tensor) -> torch.Tensor:
    """(M, D) centred points -> (D, P) an orthonormal basis of the directions they spread most in.

    From the M inner products rather than the D by D covariance: keys may be tens of thousands wide.
    """
    _, vectors = torch.linalg.eigh(points @ points.T)
    spanned = points.T @ vectors.flip(1)[:, :DIRECTIONS]
    return torch.linalg.qr(spanned).Q


def _exact_products() -> bool:
    """Whether float32 matrix products are float32; a program may trade that for speed."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set in a newer way than this question understands
        return False
