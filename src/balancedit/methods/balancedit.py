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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import torch

from balancedit.answering.generate import untouched
from balancedit.codebook.codebook import DISTANCES, Codebook, Match
from balancedit.codebook.pooling import KEY_TYPES, POOLS, kept_as
from balancedit.errors import (
    DamagedEditError,
    EditFailedError,
    EditNotFoundError,
    InputError,
    nearest_names,
)
from balancedit.inputs.images import ANCHORS
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import Picture, picture_hash
from balancedit.inputs.text import same_text
from balancedit.layer.decisions import AnswerIds, Decision, Said
from balancedit.layer.weights import weight_shape
from balancedit.learning.answer_path import Residual, finetune_together
from balancedit.learning.loop import Schedule, Start, Trained, frozen
from balancedit.learning.low_rank import EitherForm, full_weight, is_full, kept, low_rank_start
from balancedit.methods.protocol import EditRequest, LearnedEdit
from balancedit.methods.routed import Prompt, RoutedMethod, check_adam
from balancedit.models.loading import LoadedModel
from balancedit.scope.firing import OldAnswer, by_claims, by_radius, old_answer
from balancedit.scope.radius import Radius, influence_radius
from balancedit.store.protocol import HeldEdits
from balancedit.types import Edit

_TOGETHER = 32  # facts trained together at most
_BYTES = 2**30  # of weights, gradients and logits in training
_FAR_KEYS = 1024  # negatives whose keys are remembered while attached
_IN_PASSING = 16  # tokens of an old answer, at most, that rewordings are checked for in passing
_TOKENS = 6  # of an answer, as its memory is reckoned


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


@dataclass(frozen=True)
class _Fact:
    """One fact as the prefill found it: answer ids with the end token, key (D,), radius, what the
    untouched model says to the question and its rephrasings (empty where it is not asked), input x
    (A, D) and output y (A, O) of the edited layer at the answer's positions, and the answer's state
    where the short way begins; None: it goes the long way."""

    request: EditRequest
    answer: Sequence[int]
    key: torch.Tensor
    radius: Radius
    said: tuple[Said, ...]
    x: torch.Tensor
    y: torch.Tensor
    residual: Residual | None


class BalancEdit(RoutedMethod):
    """The codebook, its transformations and the routing, bound to one model."""

    name = "balancedit"
    sequential = False
    reads_late = True

    def __init__(self, loaded: LoadedModel, config: BalancEditConfig) -> None:
        super().__init__(loaded, POOLS[config.key], config.key_layer, EitherForm())
        self.config = config
        self._codebook = Codebook(DISTANCES[config.distance])
        self._rivals: dict[str, _Rival] = {}
        self._claiming = 0  # entries with an old answer
        self._far_keys: dict[tuple[str, str], torch.Tensor] = {}  # by negative and question

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

    @property
    def holds_claims(self) -> bool:
        """Whether an entry fires only where the untouched model gives its old answer."""
        return self._claiming > 0

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the model."""
        bound = {
            "layer": self._loaded.layer,
            "key": self.config.key,
            "key_layer": self.config.key_layer or self._loaded.layer,
            "distance": self.config.distance,
        }
        if self.config.key_type != "float32":  # left unsaid by stores made before there was another
            bound["key_type"] = self.config.key_type
        return bound

    def detach(self) -> None:
        """See `RoutedMethod`; the model may be another when it is attached again."""
        super().detach()
        self._far_keys.clear()

    # -- learning ----------------------------------------------------------------------------

    def learn(self, request: EditRequest) -> LearnedEdit:
        """Make an entry for one fact: key, radius and the answer's states from one batched prefill,
        then the transformation. Nothing held changes. Raises `EditFailedError` when it cannot be
        learned."""
        (learned,) = next(self.learn_many([request]))
        if isinstance(learned, EditFailedError):
            raise learned
        return learned

    def learn_many(
        self, requests: Sequence[EditRequest]
    ) -> Iterator[list[LearnedEdit | EditFailedError]]:
        """See `Method`. Facts are trained together as long as none of them lies where an earlier
        one of the batch changes what happens to it."""
        for batch in self._batches(requests):
            facts = self._measured(batch)
            while facts:
                n = self._independent(facts)
                yield self._learned(facts[:n])
                facts = facts[n:]

    def _batches(self, requests: Sequence[EditRequest]) -> Iterator[Sequence[EditRequest]]:
        """As many at a time as training them together has memory for."""
        o, d = weight_shape(self._layer.layer)
        weights = 16 * o * d if self.config.transformation == "full" else 0  # with Adam's and grads
        config: Any = self._loaded.model.config
        logits = 16 * _TOKENS * config.get_text_config().vocab_size
        n = min(_TOGETHER, max(1, _BYTES // (weights + logits)))
        for at in range(0, len(requests), n):
            yield requests[at : at + n]

    def _measured(self, requests: Sequence[EditRequest]) -> list[_Fact]:
        """Keys, radii and the answers' states of a batch of facts: all their prompts in as few
        passes as memory allows."""
        answers = [self._ids(r.target) for r in requests]
        first: Row = (requests[0].image, requests[0].question)
        short = self.config.training == "fast" and self._has_short_way(first, answers[0])
        reworded = [
            Prompt(r.image, positive, expected=self._expected(r))
            for r in requests
            for positive in r.positives
        ]
        if len(self._far_keys) > _FAR_KEYS:
            self._far_keys.clear()
        far = [(picture_hash(r.negative), r.question) for r in requests if r.negative is not None]
        unread = {
            name: Prompt(r.negative, r.question)
            for name, r in zip(far, requests, strict=True)
            if name not in self._far_keys
        }
        prompts = [
            *(Prompt(r.image, r.question, a) for r, a in zip(requests, answers, strict=True)),
            *reworded,
            *unread.values(),
        ]
        keys, found, gives = self._read(prompts)
        n, p = len(requests), len(reworded)
        own, positives, negatives = keys.split([n, p, len(unread)])
        self._far_keys |= dict(zip(unread, negatives, strict=True))
        own = kept_as(own, self.config.key_type)
        at_positives = positives.split([len(r.positives) for r in requests])
        said = self._said(requests, reworded, gives[n : n + p])
        return [
            _Fact(
                request,
                answers[i],
                own[i],
                self._radius(own[i], at_positives[i], self._far_keys[far[i]]),
                said[i],
                found.x[i],
                found.y[i],
                found.residuals[i] if short else None,
            )
            for i, request in enumerate(requests)
        ]

    def _expected(self, request: EditRequest) -> AnswerIds:
        """What the untouched model may say to a rewording; nothing where it is long, and so hardly
        ever the same."""
        said = request.untouched
        return said.ids if said is not None and len(said.ids) <= _IN_PASSING else ()

    def _ids(self, answer: str) -> list[int]:
        return self._loaded.prompter.answer_ids(answer, self._loaded.eos)

    def _said(
        self, requests: Sequence[EditRequest], reworded: Sequence[Prompt], gives: Sequence[bool]
    ) -> list[tuple[Said, ...]]:
        """What the untouched model says to every request's question and rephrasings; it is asked
        only where it did not answer alike in passing (`gives`)."""
        said = [r.untouched for r in requests for _ in r.positives]
        doubtful = [i for i, old in enumerate(said) if old is not None and not gives[i]]
        rows = [(reworded[i].image, reworded[i].question) for i in doubtful]
        for i, other in zip(doubtful, untouched(self._loaded, self, rows), strict=True):
            said[i] = other
        others = iter(said)
        made = []
        for r in requests:
            own = [one for one in islice(others, len(r.positives)) if one is not None]
            made.append((r.untouched, *own) if r.untouched is not None else ())
        return made

    def _radius(self, key: torch.Tensor, positives: torch.Tensor, negative: torch.Tensor) -> Radius:
        """The radius around a key (D,), from positives (P, D) and a negative (D,)."""
        samples = torch.cat([positives, negative[None]])
        *near, far = DISTANCES[self.config.distance](key[None], samples)[0].tolist()
        keep = self.config.degenerate == "keep"
        radius = influence_radius(near, far, self.config.alpha, keep_degenerate=keep)
        return replace(radius, value=max(radius.value, self._rounding(key)))

    def _rounding(self, key: torch.Tensor) -> float:
        """How far a prompt's key (D,) may lie from itself when it is read in another batch: less
        than that no radius can be, or the edit would miss its own question."""
        share = torch.finfo(self._loaded.dtype).eps
        return share * (key.norm().item() if self.config.distance == "euclidean" else 1.0)

    def _independent(self, facts: Sequence[_Fact]) -> int:
        """How many of these facts, from the first, have nothing to do with one another: none lies
        inside the radius of an earlier one, conflicts with it, or would be routed otherwise because
        of it."""
        keys = torch.stack([fact.key for fact in facts])
        apart = DISTANCES[self.config.distance](keys, keys).tolist()
        retiring = False
        for k, fact in enumerate(facts):
            nearest = self._codebook.nearest(fact.key[None])[0]
            overlaps, retires = self._relations(fact)
            routed = nearest.distance if nearest is not None and nearest.inside else -math.inf
            for j in range(k):
                reach = max(facts[j].radius.value, fact.radius.d_positive, routed)
                if apart[j][k] <= reach:
                    return k
            if retiring and (overlaps or retires):
                return k
            retiring = retiring or bool(retires)
        return len(facts)

    def _learned(self, facts: Sequence[_Fact]) -> list[LearnedEdit | EditFailedError]:
        """Train the transformations of facts that have nothing to do with one another."""
        relations = [self._relations(fact) for fact in facts]
        starts = [self._start(fact, near) for fact, (near, _) in zip(facts, relations, strict=True)]
        made: list[LearnedEdit | EditFailedError] = []
        for fact, (overlaps, retires), trained in zip(
            facts, relations, self._trained(facts, starts), strict=True
        ):
            if isinstance(trained, EditFailedError):
                made.append(trained)
                continue
            old = old_answer(fact.said) if fact.said else OldAnswer(None)
            made.append(
                LearnedEdit(
                    key=fact.key.cpu(),
                    tensors=kept(trained.tensors),
                    radius=fact.radius.value,
                    d_positive=fact.radius.d_positive,
                    d_negative=fact.radius.d_negative,
                    steps=trained.steps,
                    loss=trained.losses[-1],
                    old_answer=old.text,
                    old_tokens=old.tokens,
                    overlaps=overlaps,
                    retires=retires,
                    warnings=(*fact.radius.warnings, *old.warnings),
                )
            )
        return made

    def _trained(
        self, facts: Sequence[_Fact], starts: Sequence[Start]
    ) -> list[Trained | EditFailedError]:
        """Together by the short way where the facts have one, else one by one."""
        config = self.config
        schedule = Schedule(config.steps, config.eps, config.stop)
        residuals = [fact.residual for fact in facts if fact.residual is not None]
        if residuals:
            answers = [fact.answer for fact in facts]
            with self.bypass(), frozen(self._loaded.model):
                return finetune_together(
                    self._loaded.answers, self._layer, residuals, answers, starts, schedule
                )
        made: list[Trained | EditFailedError] = []
        for fact, start in zip(facts, starts, strict=True):
            asked = fact.request
            try:
                made.append(
                    self._finetune(asked.image, asked.question, asked.target, start, schedule)
                )
            except EditFailedError as error:
                made.append(error)
        return made

    def _start(self, fact: _Fact, overlaps: str | None) -> Start:
        """What a fact's training starts from: the untouched layer, or what the edit it overlaps
        made of it."""
        held = self._layer.tensors(overlaps) if overlaps else None
        if self.config.transformation == "full":
            weight = self._layer.base_weight
            if held is not None:
                weight = full_weight(weight, held)
            return Start({"weight": weight}, self.config.lr or self._loaded.edit_lr)
        lr = self.config.lr or self._loaded.low_rank_lr
        base = self._layer.base_weight if held is not None and is_full(held) else None
        return low_rank_start(fact.x, fact.y, lr, held, base, self.config.rank)

    def _relations(self, fact: _Fact) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit a new one starts from, and which it replaces.

        Overlap: the new key lies inside a radius; fine-tuning starts from the nearest such entry.
        Conflict: the same fact again with another answer, that is, each key lies as near to the
        other as a rephrasing does to its own; the older edit is retired.
        """
        overlaps = self._codebook.containing(fact.key)
        while overlaps is not None and not self._readable([overlaps.id]):
            overlaps = self._codebook.containing(fact.key)
        retires = tuple(
            m.id
            for m in self._codebook.within(fact.key, fact.radius.d_positive)
            if m.distance <= min(fact.radius.d_positive, self._rivals[m.id].d_positive)
            and not same_text(self._rivals[m.id].target, fact.request.target)
        )
        return overlaps.id if overlaps else None, retires

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an entry in force. key: (D,); tensors: the transformation, ``weight`` (O, D), or
        ``a`` (O, n) and ``q`` (n, D); entries of either form may stand side by side."""
        self._layer.add(edit.id, tensors)
        self._codebook.add(edit.id, key, _known(edit.radius))
        self._meet(edit)
        self._decide_by(self._decide)

    def add_many(self, held: HeldEdits) -> None:
        """Put many stored edits in force; see `Method.add_many`."""
        ids = [edit.id for edit in held.edits]
        radii = [_known(edit.radius) for edit in held.edits]
        self._codebook.add_mapped(ids, held.keys, held.rows, radii)
        for edit, read in zip(held.edits, held.read, strict=True):
            self._layer.add_late(edit.id, read)
            self._meet(edit)
        self._decide_by(self._decide if len(self._codebook) else None)

    def _meet(self, edit: Edit) -> None:
        tokens = edit.old_tokens
        if edit.old_answer is not None and not tokens:  # a record made before they were kept
            tokens = (tuple(self._ids(edit.old_answer)),)
        self._rivals[edit.id] = _Rival(edit.target, _known(edit.d_positive), tokens)
        self._claiming += bool(tokens)

    def remove(self, edit_id: str) -> None:
        """Take an entry out of force; keys, radii and transformations of the others stay."""
        self._codebook.remove(edit_id)
        self._layer.remove(edit_id)
        self._claiming -= bool(self._rivals.pop(edit_id).old_tokens)
        self._decide_by(self._decide if len(self._codebook) else None)

    def settle(self) -> None:
        """Bring the codebook's index up to date, rather than at the next question."""
        self._codebook.prepare()

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return self._codebook.ids

    def neighbours(self, image: Picture | None, question: str, most: int) -> list[Match]:
        """The nearest entries as seen from a query, nearest first."""
        return self._codebook.ranked(self.prefill_keys([image], [question])[0], most)

    def _decide(self, keys: torch.Tensor) -> list[Decision]:
        while True:
            decisions = self._decisions(keys)
            possible = {c.decision.fired for d in decisions for c in d.claims}
            possible |= {d.fired for d in decisions}
            if self._readable({edit_id for edit_id in possible if edit_id is not None}):
                return decisions

    def _decisions(self, keys: torch.Tensor) -> list[Decision]:
        nearest = self._codebook.nearest(keys)
        if not self._claiming:
            return by_radius(nearest)
        return by_claims(nearest, self._codebook.covering(keys), self._rivals)

    def _readable(self, ids: Iterable[str]) -> bool:
        """Read these edits' tensors; those that cannot be read are taken out of force."""
        lost = []
        for edit_id in ids:
            try:
                self._layer.tensors(edit_id)
            except (DamagedEditError, EditNotFoundError):
                lost.append(edit_id)
        for edit_id in lost:
            self.remove(edit_id)
        return not lost


@dataclass(frozen=True, slots=True)
class _Rival:
    """What of an entry later edits and decisions are compared with."""

    target: str
    d_positive: float
    old_tokens: tuple[AnswerIds, ...]


def _known(value: float | None) -> float:
    """A radius or distance as this method recorded it; the store reads one that is not a number as
    none."""
    return math.nan if value is None else value
