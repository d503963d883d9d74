"""BalancEdit: a codebook of edits beside one frozen layer (paper, Section 3.2).

Each edit is an entry of its own: a key (the prompt's embedding at the layer's input), a
transformation (the layer's weight, fine-tuned on the new answer) and an influence radius measured
from a rephrased question and a black picture. A prompt inside a radius goes through that entry's
transformation; every other goes through the untouched layer.

Source: paper Section 3.2, Eqs. 1-3 and 10; where they disagree, docs/concepts.md says which we
follow and why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from PIL import Image

from balancedit.codebook import DISTANCES, Codebook, Match
from balancedit.errors import InputError, nearest_names
from balancedit.images import ANCHORS
from balancedit.keys import POOLS
from balancedit.methods.answer_aware import by_claims, old_answer
from balancedit.methods.protocol import EditRequest, LearnedEdit
from balancedit.methods.routed import RoutedMethod, by_radius, check_adam
from balancedit.models.loading import LoadedModel
from balancedit.routing import Decision
from balancedit.scope import influence_radius
from balancedit.text import same_text
from balancedit.types import Edit


@dataclass(frozen=True)
class BalancEditConfig:
    """What a codebook is made with. All edits of one codebook share it."""

    key: Literal["mean", "last", "both"] = "both"  # mean over the prompt (paper), last token, both
    distance: Literal["euclidean", "cosine"] = "euclidean"
    alpha: float = 0.6  # α: weight of the positive distance (paper, Eq. 10)
    scope: Literal["paper", "answer-aware"] = "paper"  # what fires inside a radius
    degenerate: Literal["keep", "shrink"] = "shrink"  # radius where d_pos >= d_neg (scope.py)
    positives: int = 1  # rephrased questions the positive distance is averaged over
    negative: Literal["black", "white", "grey", "noise"] = "black"  # of the negative sample
    key_layer: str | None = None  # layer whose input makes the key; None: the edited one
    steps: int = 50  # Adam steps an edit (authors' code)
    lr: float | None = None  # Adam step size; None: what the model's table says
    eps: float = 1e-4  # Adam's ε (authors' code)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("key", self.key, POOLS),
            ("distance", self.distance, DISTANCES),
            ("scope", self.scope, ("paper", "answer-aware")),
            ("degenerate", self.degenerate, ("keep", "shrink")),
            ("negative", self.negative, ANCHORS),
        ):
            if value not in known:
                raise InputError(f"unknown {name} '{value}'{nearest_names(str(value), known)}")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha is {self.alpha}; it weighs two distances, from 0 to 1")
        if self.positives < 1:
            raise InputError(f"positives is {self.positives}; at least 1 is needed")
        check_adam(self.steps, self.lr, self.eps)


_PAPER = BalancEditConfig(key="mean", alpha=0.2, degenerate="keep")

#: Named settings. "paper" keeps the paper's key, distance, α and steps; the step size is the
#: model's (docs/concepts.md, "Step size"). "paper/…" are the values of the authors' code for one
#: backbone, step size included; the layer is the one the table of architectures names for it.
PRESETS: dict[str, BalancEditConfig] = {
    "recommended": BalancEditConfig(),
    "paper": _PAPER,
    "paper/blip2-opt": replace(_PAPER, alpha=0.05, lr=1e-4),
    "paper/minigpt4": replace(_PAPER, alpha=0.2, lr=1e-4),
}


class BalancEdit(RoutedMethod):
    """The codebook, its transformations and the routing, bound to one model."""

    name = "balancedit"
    sequential = False

    def __init__(self, loaded: LoadedModel, config: BalancEditConfig) -> None:
        super().__init__(loaded, POOLS[config.key], config.key_layer)
        self.config = config
        self._codebook = Codebook(DISTANCES[config.distance])
        self._edits: dict[str, Edit] = {}

    @property
    def positives(self) -> int:
        """Rephrased questions it wants with every request."""
        return self.config.positives

    @property
    def negative(self) -> str:
        """Picture of the negative sample where the caller gives none."""
        return self.config.negative

    @property
    def asks_untouched(self) -> bool:
        """Whether its scope depends on what the untouched model says."""
        return self.config.scope == "answer-aware"

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the model."""
        return {
            "layer": self._loaded.layer,
            "key": self.config.key,
            "key_layer": self.config.key_layer or self._loaded.layer,
            "distance": self.config.distance,
        }

    # -- learning ----------------------------------------------------------------------------

    def learn(self, request: EditRequest) -> LearnedEdit:
        """Make an entry for one fact: key and radius from one batched prefill, then the
        transformation. Nothing held changes. Raises `EditFailedError` when it cannot be learned."""
        assert request.negative is not None  # `negative` asks for one
        n = len(request.positives)
        images = [request.image] * (1 + n) + [request.negative]
        questions = [request.question, *request.positives, request.question]
        keys = self.prefill_keys(images, questions)
        distance = DISTANCES[self.config.distance]
        from_key = distance(keys[:1], keys[1:])[0].tolist()
        radius = influence_radius(
            from_key[:n],
            from_key[n],
            self.config.alpha,
            keep_degenerate=self.config.degenerate == "keep",
        )
        old, unsure = old_answer(request.untouched) if request.untouched else (None, ())
        overlaps, retires = self._relations(keys[0], radius.d_positive, request.target)
        trained = self._finetune(
            request.image,
            request.question,
            request.target,
            self._layer.tensors(overlaps) if overlaps else {"weight": self._layer.base_weight},
            steps=self.config.steps,
            lr=self.config.lr if self.config.lr is not None else self._loaded.edit_lr,
            eps=self.config.eps,
        )
        return LearnedEdit(
            key=keys[0].cpu(),
            tensors={name: t.cpu() for name, t in trained.tensors.items()},
            radius=radius.value,
            d_positive=radius.d_positive,
            d_negative=radius.d_negative,
            steps=self.config.steps,
            loss=trained.losses[-1],
            old_answer=old,
            overlaps=overlaps,
            retires=retires,
            warnings=(*radius.warnings, *unsure),
        )

    def _relations(
        self, key: torch.Tensor, d_positive: float, target: str
    ) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit a new one starts from, and which it replaces.

        Overlap: the new key lies inside a radius; fine-tuning starts from the nearest such entry.
        Conflict: the same fact again with another answer, that is, each key lies as near to the
        other as a rephrasing does to its own; the older edit is retired.
        """
        overlaps = self._codebook.containing(key)
        retires = tuple(
            m.id
            for m in self._codebook.within(key, d_positive)
            if m.distance <= min(d_positive, _known(self._edits[m.id].d_positive))
            and not same_text(self._edits[m.id].target, target)
        )
        return overlaps.id if overlaps else None, retires

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an entry in force. key: (D,); tensors: ``weight`` (O, D), the transformation."""
        self._layer.add(edit.id, tensors)
        self._codebook.add(edit.id, key, _known(edit.radius))
        self._edits[edit.id] = edit
        self._decide_by(self._decide)

    def remove(self, edit_id: str) -> None:
        """Take an entry out of force; keys, radii and transformations of the others stay."""
        self._codebook.remove(edit_id)
        self._layer.remove(edit_id)
        del self._edits[edit_id]
        self._decide_by(self._decide if len(self._codebook) else None)

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return self._codebook.ids

    def neighbours(self, image: Image.Image | None, question: str, most: int) -> list[Match]:
        """The nearest entries as seen from a query, nearest first."""
        return self._codebook.ranked(self.prefill_keys([image], [question])[0], most)

    def _decide(self, keys: torch.Tensor) -> list[Decision]:
        nearest = self._codebook.nearest(keys)
        if all(edit.old_answer is None for edit in self._edits.values()):
            return by_radius(nearest)
        return by_claims(nearest, self._codebook.covering(keys), self._edits)


def _known(value: float | None) -> float:
    """A radius or distance as this method recorded it; the store reads one that is not a number as
    none."""
    return math.nan if value is None else value
