"""BalancEdit: a codebook of edits beside one frozen layer (paper, Section 3.2).

Each edit is an entry of its own: a key (the prompt's embedding at the layer's input), a
transformation (the layer's weight, fine-tuned on the new answer) and an influence radius measured
from a rephrased question and a black picture. A prompt inside a radius goes through that entry's
transformation; every other goes through the untouched layer.

Source: paper Section 3.2, Eqs. 1-3 and 10; where they disagree, docs/concepts.md says which we
follow and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image

from balancedit.adapter import EditedLayer
from balancedit.codebook import DISTANCES, Codebook, Match
from balancedit.errors import InputError, nearest_names
from balancedit.keys import POOLS
from balancedit.methods.protocol import EditRequest, LearnedEdit
from balancedit.models.layers import ancestors, resolve_layer
from balancedit.models.loading import LoadedModel
from balancedit.routing import Decision, Router, RouteTrace
from balancedit.scope import influence_radius
from balancedit.text import same_text
from balancedit.training import finetune
from balancedit.types import Edit


@dataclass(frozen=True)
class BalancEditConfig:
    """What a codebook is made with. All edits of one codebook share it."""

    key: Literal["mean", "last"] = "last"  # mean over the prompt (paper), or its last token
    distance: Literal["euclidean", "cosine"] = "euclidean"
    alpha: float = 0.4  # α: weight of the positive distance (paper, Eq. 10)
    degenerate: Literal["keep", "shrink"] = "shrink"  # radius where d_pos >= d_neg (scope.py)
    positives: int = 1  # rephrased questions the positive distance is averaged over
    negative: Literal["black", "white"] = "black"  # picture of the negative sample (paper, Table 7)
    key_layer: str | None = None  # layer whose input makes the key; None: the edited one
    steps: int = 50  # Adam steps an edit (authors' code)
    lr: float | None = None  # Adam step size; None: what the model's table says
    eps: float = 1e-4  # Adam's ε (authors' code)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("key", self.key, POOLS),
            ("distance", self.distance, DISTANCES),
            ("degenerate", self.degenerate, ("keep", "shrink")),
            ("negative", self.negative, ("black", "white")),
        ):
            if value not in known:
                raise InputError(f"unknown {name} '{value}'{nearest_names(str(value), known)}")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha is {self.alpha}; it weighs two distances, from 0 to 1")
        if self.positives < 1 or self.steps < 1:
            raise InputError("positives and steps must be at least 1")
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise InputError(f"lr is {self.lr}; a step size is a positive number")


#: Named settings. "paper" keeps the paper's key, distance, α and steps; the step size is the
#: model's (docs/concepts.md, "Step size").
PRESETS: dict[str, BalancEditConfig] = {
    "recommended": BalancEditConfig(),
    "paper": BalancEditConfig(key="mean", alpha=0.2, degenerate="keep"),
}


class BalancEdit:
    """The codebook, its transformations and the routing, bound to one model."""

    name = "balancedit"

    def __init__(self, loaded: LoadedModel, config: BalancEditConfig) -> None:
        self.config = config
        self._loaded = loaded
        self._codebook = Codebook(DISTANCES[config.distance])
        self._edits: dict[str, Edit] = {}
        layer = resolve_layer(loaded.model, loaded.layer)
        key_layer = resolve_layer(loaded.model, config.key_layer) if config.key_layer else layer
        path = ancestors(loaded.model, loaded.layer)
        self._router = Router(path, key_layer, POOLS[config.key], None)
        self._layer = EditedLayer(layer, self._router)

    @property
    def positives(self) -> int:
        """Rephrased questions it wants with every request."""
        return self.config.positives

    @property
    def negative(self) -> str:
        """Picture of the negative sample where the caller gives none."""
        return self.config.negative

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
        prompter = self._loaded.prompter
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
        overlaps, retires = self._relations(keys[0], radius.d_positive, request.target)
        start = self._layer.weight(overlaps) if overlaps else self._layer.base_weight
        answer = prompter.answer_ids(request.target, self._loaded.eos)
        inputs = self._loaded.to_device(prompter.inputs([request.image], [request.question]))
        with self.bypass():
            trained = finetune(
                self._loaded.model,
                self._layer,
                inputs,
                answer,
                start,
                steps=self.config.steps,
                lr=self.config.lr if self.config.lr is not None else self._loaded.edit_lr,
                eps=self.config.eps,
            )
        return LearnedEdit(
            key=keys[0].cpu(),
            tensors={"weight": trained.weight.cpu()},
            radius=radius.value,
            d_positive=radius.d_positive,
            d_negative=radius.d_negative,
            steps=self.config.steps,
            loss=trained.losses[-1],
            overlaps=overlaps,
            retires=retires,
            warnings=radius.warnings,
        )

    def _relations(
        self, key: torch.Tensor, d_positive: float, target: str
    ) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit a new one starts from, and which it replaces.

        Overlap: the new key lies inside a radius; fine-tuning starts from the nearest such entry.
        Conflict: the same fact again with another answer, that is, each key lies as near to the
        other as a rephrasing does to its own; the older edit is retired.
        """
        ranked = self._codebook.ranked(key)
        overlaps = next((m.id for m in ranked if m.inside), None)
        retires = tuple(
            m.id
            for m in ranked
            if m.distance <= min(d_positive, self._edits[m.id].d_positive)
            and not same_text(self._edits[m.id].target, target)
        )
        return overlaps, retires

    @torch.no_grad()
    def prefill_keys(
        self, images: Sequence[Image.Image | None], questions: Sequence[str]
    ) -> torch.Tensor:
        """(prompts, D) float32 keys from one batched forward pass; nothing fires in it."""
        inputs = self._loaded.to_device(self._loaded.prompter.inputs(images, questions))
        with self.bypass(), self._router.tracing() as trace:
            self._loaded.model(**inputs, use_cache=False)
        return trace.stacked_keys()

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an entry in force. key: (D,); tensors: ``weight`` (O, D), the transformation."""
        self._layer.add(edit.id, tensors["weight"])
        self._codebook.add(edit.id, key, edit.radius)
        self._edits[edit.id] = edit
        self._router.decide = self._decide

    def remove(self, edit_id: str) -> None:
        """Take an entry out of force; keys, radii and transformations of the others stay."""
        self._codebook.remove(edit_id)
        self._layer.remove(edit_id)
        del self._edits[edit_id]
        self._router.decide = self._decide if len(self._codebook) else None

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return self._codebook.ids

    def neighbours(self, image: Image.Image | None, question: str) -> list[Match]:
        """Every entry as seen from a query, nearest first."""
        return self._codebook.ranked(self.prefill_keys([image], [question])[0])

    # -- applying ----------------------------------------------------------------------------

    def attach(self) -> None:
        """Make the model answer with the entries in force."""
        self._router.attach()
        self._layer.attach()

    def detach(self) -> None:
        """Give the model back as it was: no hook of ours is left, and no module was replaced."""
        self._layer.detach()
        self._router.detach()

    def tracing(self) -> AbstractContextManager[RouteTrace]:
        """Collect the routing decisions of the prompts seen inside the context."""
        return self._router.tracing()

    def bypass(self) -> AbstractContextManager[None]:
        """Inside the context the model answers as if no edit were held."""
        return self._router.paused()

    def prompt_lengths(self, lengths: Sequence[int] | torch.Tensor) -> AbstractContextManager[None]:
        """Inside the context, only that many real tokens of each row make its key."""
        return self._router.prompt_lengths(lengths)

    def _decide(self, keys: torch.Tensor) -> list[Decision]:
        return [
            Decision(m.id if m.inside else None, m.id, m.distance, m.radius) if m else Decision()
            for m in self._codebook.nearest(keys)
        ]
