"""Transformations of low rank: ΔW = A·Qᵀ beside the layer's own weight.

The gradient of an edit's loss with respect to the layer's weight lies in the span of the layer's
inputs at the answer's positions. So Q is an orthonormal basis of those inputs, which stays, and A
is trained from zero: everything that a full weight could do to the answer's own tokens, in
n·(D + O) numbers instead of D·O. It is another solution than the full weight's, not the same one.

Letters: N = edits, R = rows, T = tokens, D, O = the layer's input and output widths, n = rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from balancedit.layer.edited import FullWeight, Replacement, Tensors, check_shapes
from balancedit.layer.weights import weight_shape
from balancedit.learning.loop import Start

_SPANNED = 1e-4  # share of the largest singular value below which a direction is rounding


class LowRank:
    """An edit's ``a`` (O, n) and ``q`` (n, D): x·Qᵀ·Aᵀ is added to the layer's output. Mixed rows
    go through together: ranks are filled up with zeros, and each row takes its edit's factors."""

    def check(self, layer: nn.Module, tensors: Tensors) -> None:
        """See `Transformation`."""
        o, d = weight_shape(layer)
        n = len(tensors["q"]) if "q" in tensors and tensors["q"].dim() else 0
        check_shapes({"a": (o, n), "q": (n, d)}, tensors)

    def over(
        self, layer: nn.Module, held: Sequence[Tensors], owner: torch.Tensor, rows: torch.Tensor
    ) -> Replacement:
        """See `Transformation`; in float32, whatever the types of model and factors."""
        rank = max(len(tensors["q"]) for tensors in held)
        a = torch.stack([_filled(t["a"].float(), 1, rank) for t in held])
        q = torch.stack([_filled(t["q"].float(), 0, rank) for t in held])
        if len(held) > 1:
            a, q = a[owner], q[owner]
        a, q = a.transpose(1, 2), q.transpose(1, 2)
        return lambda x, y: y.float() + (x.float() @ q) @ a


class EitherForm:
    """Full weights and low-rank factors side by side, each edit in the form it was made in."""

    def __init__(self) -> None:
        self._full, self._low = FullWeight(), LowRank()

    def check(self, layer: nn.Module, tensors: Tensors) -> None:
        """See `Transformation`."""
        (self._full if is_full(tensors) else self._low).check(layer, tensors)

    def over(
        self, layer: nn.Module, held: Sequence[Tensors], owner: torch.Tensor, rows: torch.Tensor
    ) -> Replacement:
        """See `Transformation`."""
        full = torch.tensor([is_full(tensors) for tensors in held], device=owner.device)
        if bool(full.all()):
            return self._full.over(layer, held, owner, rows)
        if not bool(full.any()):
            return self._low.over(layer, held, owner, rows)
        number = torch.where(full, full.cumsum(0), (~full).cumsum(0)) - 1  # among those of its form
        parts = []
        for form, mine in ((self._full, full), (self._low, ~full)):
            at = mine[owner].nonzero()[:, 0]
            own = [tensors for tensors, one in zip(held, mine.tolist(), strict=True) if one]
            parts.append((at, form.over(layer, own, number[owner[at]], rows[at])))

        def replace(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            output = y.float()
            for at, part in parts:
                output = output.index_copy(0, at, part(x[at], y[at]))
            return output

        return replace


def is_full(tensors: Tensors) -> bool:
    """Whether an edit's tensors are a full weight."""
    return "weight" in tensors


def full_weight(base: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    """(O, D) float32: the weight that an edit of either form makes of the layer's own, `base`."""
    if is_full(tensors):
        return tensors["weight"].float()
    return base + tensors["a"].float() @ tensors["q"].float()


def low_rank_start(
    x: torch.Tensor,
    y: torch.Tensor,
    lr: float,
    held: Tensors | None,
    base: torch.Tensor | None,
    rank: int,
) -> Start:
    """What factors are trained from: Q spans the answer's inputs x (A, D); A is zero.

    lr: Adam step size as a share of the layer's outputs y (A, O): a step changes each of their
    numbers by about that much of their root mean square. held: tensors of an edit to build on, None
    for none; Q then also spans the `rank` directions that it acts on most, and A says what it does
    to all of them, so that the answer's tokens start just where it puts them. base: (O, D) the
    layer's own weight, needed where `held` is a full one.
    """
    x, y = x.detach().float(), y.detach().float()
    step = lr * float(y.square().mean().sqrt() / x.norm(dim=1).mean())
    if held is None:
        q = basis(x)
        return Start({"a": y.new_zeros(y.shape[1], len(q))}, step, {"q": q})
    q = basis(x, strongest(base, held, rank))
    if base is None:
        a = held["a"].float() @ (held["q"].float() @ q.T)
    else:
        a = (held["weight"].float() - base) @ q.T
    return Start({"a": a}, step, {"q": q})


def kept(tensors: Tensors) -> dict[str, torch.Tensor]:
    """An edit's tensors as they are held and stored, on the CPU: factors in half precision, whose
    rounding is far below what an edit changes, and a full weight as it is."""
    if is_full(tensors):
        return {name: t.cpu() for name, t in tensors.items()}
    return {name: t.cpu().to(torch.float16) for name, t in tensors.items()}


def basis(x: torch.Tensor, also: torch.Tensor | None = None) -> torch.Tensor:
    """An orthonormal basis of rows: x (A, D), also (M, D) orthonormal or None -> (n, D) float32,
    `also` first, n ≤ A + M."""
    rest = x.float()
    if also is not None:
        rest = rest - (rest @ also.T) @ also
    _, size, directions = torch.linalg.svd(rest, full_matrices=False)
    whole = torch.linalg.matrix_norm(x.float(), 2)
    directions = directions[size > _SPANNED * whole]
    if also is None:
        return directions
    directions = directions - (directions @ also.T) @ also  # once more: rounding of the first time
    return torch.cat([also, directions / directions.norm(dim=1, keepdim=True)])


def strongest(base: torch.Tensor | None, tensors: Tensors, rank: int) -> torch.Tensor:
    """The inputs' directions that an edit of either form acts on most: (≤ rank, D) orthonormal.
    base: (O, D) the layer's own weight, needed for a full one."""
    if base is None:
        left = torch.linalg.qr(tensors["a"].float()).R  # as long as a's rows, but few
        _, size, directions = torch.linalg.svd(left @ tensors["q"].float(), full_matrices=False)
    else:
        change = tensors["weight"].float() - base
        with torch.random.fork_rng():
            torch.manual_seed(0)
            _, size, v = torch.svd_lowrank(change, q=min(2 * rank + 8, *change.shape), niter=4)
        directions = v.T
    return directions[: min(rank, int((size > _SPANNED * size.max()).sum()))]


def _filled(factor: torch.Tensor, dim: int, rank: int) -> torch.Tensor:
    """A factor with zeros behind it, up to `rank` along one dimension."""
    missing = rank - factor.shape[dim]
    if not missing:
        return factor
    shape = list(factor.shape)
    shape[dim] = missing
    return torch.cat([factor, factor.new_zeros(shape)], dim)
