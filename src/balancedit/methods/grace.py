"""GRACE: a codebook that swaps the layer's output vector at the prompt's last token. A baseline.

Each entry has a key (the layer's input at the last prompt token), a value (the output vector that
is put there instead) and a radius ε, its *deferral radius*. A prompt whose nearest entry has it
within its ε gets that entry's value; the rest of the model does as it always does. Radii are not
measured: they start at a fixed size, shrink where an edit with another answer comes near, and grow
where one with the same answer does. Decode steps are never touched.

Source: Hartvigsen et al., *Aging with GRACE* (2023), Section 3, and their repository
(`grace/editors/grace.py`): ε 1, Euclidean distance, 100 steps of Adam with step size 1, values from
[0, 1). Two differences: labels are equal that are the same answer (theirs compares the mean of the
ids), and an edit that joins an entry keeps its own value, so that the other's reverting loses none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from balancedit.codebook.codebook import Codebook, Match, euclidean
from balancedit.codebook.pooling import last_key, last_position
from balancedit.errors import EditFailedError, InputError, nearest_names
from balancedit.inputs.answers import same_answer
from balancedit.inputs.pairing import Asked, Row
from balancedit.inputs.pictures import Picture
from balancedit.layer.decisions import Decision
from balancedit.layer.edited import Replacement, Tensors, check_shapes
from balancedit.layer.weights import weight_shape
from balancedit.learning.loop import Schedule, Start
from balancedit.methods.presets import alike
from balancedit.methods.protocol import EditRequest, LearnedEdit, OfferedMethod, one_by_one
from balancedit.methods.routed import RoutedLayer, check_adam
from balancedit.models.loading import LoadedModel
from balancedit.scope.firing import by_radius
from balancedit.store.protocol import HeldEdits
from balancedit.types import Edit

_APART = 1e-5  # by how much the older of two split entries falls short of half the way (source)


@dataclass(frozen=True)
class GraceConfig:
    """What a codebook is made with. All edits of one codebook share epsilon and replace."""

    epsilon: float = 1.0  # ε_init: the radius a new entry starts with (source)
    replace: Literal["last", "prompt"] = "last"  # where the value goes: last prompt token, or all
    steps: int = 100  # Adam steps an edit (source)
    lr: float = 1.0  # Adam step size (source)
    eps: float = 1e-8  # Adam's ε (torch's default)
    seed: int = 0  # of the value that training starts from

    def __post_init__(self) -> None:
        if self.replace not in ("last", "prompt"):
            near = nearest_names(str(self.replace), ("last", "prompt"))
            raise InputError(f"unknown replace '{self.replace}'{near}")
        if not 0 < self.epsilon < float("inf"):
            raise InputError(f"epsilon is {self.epsilon}; a radius is a positive number")
        check_adam(self.steps, self.lr, self.eps)


#: Named settings, with the source's numbers; "paper" fills the whole prompt, as the source does.
PRESETS = {"recommended": GraceConfig(), **alike(GraceConfig(replace="prompt"))}


# -- the rules: no model, no values --------------------------------------------------------------


@dataclass(frozen=True)
class Ruling:
    """What an edit does to the codebook. own: the radius of the entry it makes, None when it joins
    the nearest one; near: what the nearest entry's radius becomes, None when there is no entry."""

    own: float | None
    near: float | None


def rule(near: Match | None, same_label: bool, epsilon: float) -> Ruling:
    """The source's rules for an edit whose key lies `near.distance` from the nearest entry.

    Farther than both radii reach: a new entry. Else, with another label: a new entry, and the two
    share the way between them. Else it joins that entry, which grows to reach it.
    """
    if near is None:
        return Ruling(own=epsilon, near=None)
    if near.distance > epsilon + near.radius:
        return Ruling(own=epsilon, near=near.radius)
    if not same_label:
        return Ruling(own=near.distance / 2, near=near.distance / 2 - _APART)
    return Ruling(own=None, near=max(near.radius, near.distance))


class DeferralCodebook:
    """Entries and their radii, as the edits made so far have left them. Letters: B = queries, D =
    width of a key."""

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon
        self._entries = Codebook(euclidean)  # its own radii are the ones entries started with
        self._radii: dict[str, float] = {}
        self._labels: dict[str, str] = {}

    @property
    def radii(self) -> dict[str, float]:
        """Every entry's radius now, oldest entry first."""
        return dict(self._radii)

    def ruling(self, key: torch.Tensor, label: str) -> tuple[Ruling, str | None]:
        """What an edit with this key (D,) and label would do, and the nearest entry's id."""
        near = self.nearest(key[None])[0]
        same = near is not None and same_answer(self._labels[near.id], label)
        return rule(near, same, self._epsilon), near.id if near else None

    def admit(self, edit_id: str, key: torch.Tensor, label: str) -> None:
        """Take one edit in; key: (D,)."""
        ruling, near = self.ruling(key, label)
        if near is not None and ruling.near is not None:
            self._radii[near] = ruling.near
        if ruling.own is not None:
            self._entries.add(edit_id, key, ruling.own)
            self._radii[edit_id] = ruling.own
            self._labels[edit_id] = label

    def nearest(self, queries: torch.Tensor) -> list[Match | None]:
        """(B, D) -> the nearest entry of each query with its radius now; None: no entry is held."""
        return [self._now(m) if m else None for m in self._entries.nearest(queries)]

    def ranked(self, query: torch.Tensor, most: int | None = None) -> list[Match]:
        """(D,) -> entries as seen from the query, nearest first; all, or the `most` nearest."""
        return [self._now(m) for m in self._entries.ranked(query, most)]

    def _now(self, match: Match) -> Match:
        return replace(match, radius=self._radii[match.id])


# -- where a value goes --------------------------------------------------------------------------


class PromptValue:
    """Puts an edit's value (O,) where the prompt's tokens are, and nowhere else.

    It serves the router as its pool, since that is who knows which tokens are the prompt's, and
    remembers them for the calls that follow. A call with fewer tokens than the prompt is a decode
    step; one with more (decoding without a cache, or the prompt with an answer behind it) has the
    prompt in front. Letters: P = tokens of the prompt's call, the rest as in `layer/edited.py`.
    """

    def __init__(self, where: Literal["last", "prompt"]) -> None:
        self._where = where
        self._places: torch.Tensor | None = None  # (B, P) bool

    def pool(self, h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """The router's pool: h (B, P, D), prompt (B, P) bool -> (B, D) the last prompt token."""
        self._places = prompt
        if self._where == "last":
            positions = torch.arange(prompt.shape[1], device=prompt.device)
            self._places = positions == last_position(prompt)[:, None]
        return last_key(h, prompt)

    def check(self, layer: nn.Module, tensors: Tensors) -> None:
        """See `Transformation`."""
        check_shapes({"value": weight_shape(layer)[:1]}, tensors)

    def over(
        self, layer: nn.Module, held: Sequence[Tensors], owner: torch.Tensor, rows: torch.Tensor
    ) -> Replacement:
        """See `Transformation`."""
        assert self._places is not None  # a prompt is pooled before anything fires on it
        places = self._places.to(rows.device)[rows][..., None]
        values = torch.stack([tensors["value"] for tensors in held])[owner][:, None]
        prompt = places.shape[1]

        def replace(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if y.shape[1] < max(prompt, 2):
                return y
            filled = torch.where(places, values.to(y.dtype), y[:, :prompt])
            return torch.cat([filled, y[:, prompt:]], 1)

        return replace


class Grace:
    """The codebook, its values and the routing, bound to one model; letters as above."""

    name = "grace"
    sequential = True  # radii depend on the order of the edits
    reads_late = False
    positives = 0  # radii come from rules, not from samples
    negative = None
    asks_untouched = False

    def __init__(self, loaded: LoadedModel, config: GraceConfig) -> None:
        apply = PromptValue(config.replace)
        self.routing = RoutedLayer(loaded, apply.pool, apply=apply)
        self.config = config
        self._held: dict[str, tuple[torch.Tensor, str]] = {}  # id -> key (D,), label; in order
        self._codebook: DeferralCodebook | None = DeferralCodebook(config.epsilon)

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the model."""
        return {
            "layer": self.routing.loaded.layer,
            "key": "last",
            "distance": "euclidean",
            "epsilon": repr(float(self.config.epsilon)),
            "replace": self.config.replace,
        }

    def learn(self, request: EditRequest) -> LearnedEdit:
        """Make key and value for one fact; the rules say what becomes of the radii. Nothing held
        changes. Raises `EditFailedError` when the loss is not a number.

        The only tensor is ``value`` (O,) float32. The radius recorded is that of the entry which
        answers the edit: its own, or the one it joins (`overlaps`).
        """
        key = self.routing.prefill_keys([request.image], [request.question])[0]
        ruling, near = self._entries.ruling(key, request.target)
        generator = torch.Generator().manual_seed(self.config.seed)
        width = weight_shape(self.routing.layer.layer)[0]
        start = torch.rand(width, generator=generator).to(self.routing.layer.device)
        trained = self.routing.finetune(
            request.image,
            request.question,
            request.target,
            Start({"value": start}, self.config.lr),
            Schedule(self.config.steps, self.config.eps),
        )
        return LearnedEdit(
            key=key.cpu(),
            tensors={name: t.cpu() for name, t in trained.tensors.items()},
            radius=ruling.near if ruling.own is None else ruling.own,
            steps=self.config.steps,
            loss=trained.losses[-1],
            overlaps=near if ruling.own is None else None,
        )

    def learn_many(
        self, requests: Sequence[EditRequest]
    ) -> Iterator[list[LearnedEdit | EditFailedError]]:
        """See `Method`; one at a time."""
        return one_by_one(self.learn, requests)

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an edit in force. key: (D,); tensors: ``value`` (O,)."""
        self.routing.layer.add(edit.id, tensors)
        self._held[edit.id] = (key, edit.target)
        if self._codebook is not None:
            self._codebook.admit(edit.id, key, edit.target)
        self.routing.decide_by(self._decide)

    def add_many(self, held: HeldEdits) -> None:
        """Not offered: the rules need every edit's label and key in turn."""
        raise NotImplementedError("grace takes stored edits one at a time")

    def remove(self, edit_id: str) -> None:
        """Take an edit out of force; `settle` gives the others the radii they would have had
        without it. Values stay."""
        self.routing.layer.remove(edit_id)
        del self._held[edit_id]
        self._codebook = None
        self.routing.decide_by(self._decide if self._held else None)

    def settle(self) -> None:
        """Make the edits held go through the rules again, if one was taken out."""
        if self._codebook is None:
            self._codebook = DeferralCodebook(self.config.epsilon)
            for edit_id, (key, label) in self._held.items():
                self._codebook.admit(edit_id, key, label)

    @property
    def _entries(self) -> DeferralCodebook:
        self.settle()
        assert self._codebook is not None
        return self._codebook

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return list(self._held)

    def neighbours(self, image: Picture | None, question: Asked, most: int) -> list[Match]:
        """The nearest entries as seen from a query, nearest first, with their radii now. Edits that
        joined another's entry have none."""
        return self._entries.ranked(self.routing.prefill_keys([image], [question])[0], most)

    def answer_tokens(self, edit_id: str) -> int:
        """See `Method`."""
        return self.routing.answer_tokens([self._held[edit_id][1]])

    def worded(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows as they are: the layer is what changes."""
        return rows

    def _decide(self, keys: torch.Tensor) -> list[Decision]:
        return by_radius(self._entries.nearest(keys))


METHOD = OfferedMethod(Grace, PRESETS)
