"""The influence radius of an edit, from a positive and a negative sample (paper, Section 3.2).

The paper's Eq. 3 puts (1 - α) on the positive distance; its Eq. 10, its Fig. 5 and its authors'
code put α there. We follow the latter three: α weighs the *positive* distance, so a larger α means
a smaller, more local radius. docs/concepts.md explains the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Radius:
    """An influence radius and the distances it was made from, all in one distance's units."""

    value: float
    d_positive: float
    d_negative: float
    warnings: tuple[str, ...] = ()


def influence_radius(
    positive_distances: Sequence[float],
    negative_distance: float,
    alpha: float,
    *,
    keep_degenerate: bool,
) -> Radius:
    """ε = α · d_pos + (1 - α) · d_neg, d_pos the mean over the positive samples (paper, Eq. 10).

    When the positives lie no nearer than the negative, the estimate says nothing about the fact.
    With `keep_degenerate` the formula's value stands (the paper's preset); otherwise the radius is
    (1 - α) · d_neg, which still keeps the negative sample out. Either way a warning is recorded.
    """
    d_positive = sum(positive_distances) / len(positive_distances)
    if d_positive < negative_distance:
        value = alpha * d_positive + (1 - alpha) * negative_distance
        return Radius(value, d_positive, negative_distance)
    if keep_degenerate:
        value = alpha * d_positive + (1 - alpha) * negative_distance
    else:
        value = (1 - alpha) * negative_distance
    warning = (
        f"the rephrased question lies as far away ({d_positive:.4g}) as the negative picture "
        f"({negative_distance:.4g}); the radius is a guess: give better rephrasings or a negative"
    )
    return Radius(value, d_positive, negative_distance, (warning,))
