"""What a codebook of edits is made with, and the named settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from balancedit.codebook.codebook import DISTANCES
from balancedit.codebook.pooling import KEY_TYPES, POOLS
from balancedit.errors import InputError, nearest_names
from balancedit.inputs.images import ANCHORS
from balancedit.methods.routed import check_adam


@dataclass(frozen=True)
class BalancEditConfig:
    """What a codebook is made with. All edits of one codebook share it."""

    key: Literal["mean", "last", "both"] = "mean"  # mean over the prompt (paper), last token, both
    distance: Literal["euclidean", "cosine"] = "euclidean"
    alpha: float = 0.6  # α: weight of the positive distance (paper, Eq. 10)
    scope: Literal["paper", "answer-aware"] = "answer-aware"  # what fires inside a radius
    degenerate: Literal["keep", "shrink"] = "shrink"  # radius where d_pos >= d_neg (see scope)
    positives: int = 1  # rephrased questions the positive distance is averaged over
    negative: Literal["black", "white", "grey", "noise"] = "black"  # of the negative sample
    key_type: Literal["float32", "float16"] = "float32"  # what keys are kept in (docs/concepts.md)
    key_layer: str | None = None  # layer whose input makes the key; None: the edited one
    steps: int = 50  # Adam steps an edit (authors' code)
    lr: float | None = None  # Adam step size; None: what the model's table says
    eps: float = 1e-4  # Adam's ε (authors' code)
    transformation: Literal["full", "low_rank"] = "low_rank"  # full: the whole weight (paper)
    rank: int = 16  # low rank: directions kept of the edit that an overlapping one builds on
    stop: float | None = 0.01  # loss, nats per answer token, that ends training early; None: never
    training: Literal["fast", "reference"] = "fast"  # answer positions alone, or the plain loop

    def __post_init__(self) -> None:
        for name, value, known in (
            ("key", self.key, POOLS),
            ("distance", self.distance, DISTANCES),
            ("key_type", self.key_type, KEY_TYPES),
            ("scope", self.scope, ("paper", "answer-aware")),
            ("degenerate", self.degenerate, ("keep", "shrink")),
            ("negative", self.negative, ANCHORS),
            ("transformation", self.transformation, ("full", "low_rank")),
            ("training", self.training, ("fast", "reference")),
        ):
            if value not in known:
                raise InputError(f"unknown {name} '{value}'{nearest_names(str(value), known)}")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha is {self.alpha}; it weighs two distances, from 0 to 1")
        if self.positives < 1:
            raise InputError(f"positives is {self.positives}; at least 1 is needed")
        if self.rank < 0:
            raise InputError(f"rank is {self.rank}; it counts directions, 0 or more")
        if self.stop is not None and not self.stop > 0:
            raise InputError(f"stop is {self.stop}; a loss to stop at is positive, or None")
        check_adam(self.steps, self.lr, self.eps)


_PAPER = BalancEditConfig(
    alpha=0.2, scope="paper", degenerate="keep", transformation="full", stop=None
)

#: Named settings. "paper" keeps the paper's key, distance, α, scope, weights and steps; the step
#: size is the model's (docs/concepts.md, "Step size"). "paper/…" are the values of the authors'
#: code for one backbone, step size included; the layer is what the table of architectures names.
PRESETS: dict[str, BalancEditConfig] = {
    "recommended": BalancEditConfig(),
    "paper": _PAPER,
    "paper/blip2-opt": replace(_PAPER, alpha=0.05, lr=1e-4),
    "paper/minigpt4": replace(_PAPER, alpha=0.2, lr=1e-4),
}
