"""The method: facts measured, trained and held, as `Method` wants it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from balancedit.answering.failures import explained
from balancedit.codebook.codebook import DISTANCES, Match
from balancedit.codebook.pooling import POOLS
from balancedit.errors import EditFailedError
from balancedit.inputs.images import solid
from balancedit.inputs.pairing import Asked, Row
from balancedit.inputs.pictures import Picture
from balancedit.layer.weights import weight_shape
from balancedit.learning.answer_path import finetune_together
from balancedit.learning.loop import Schedule, Start, Trained, frozen
from balancedit.learning.low_rank import EitherForm, full_weight, is_full, kept, low_rank_start
from balancedit.methods.balancedit.config import BalancEditConfig
from balancedit.methods.balancedit.entries import Entries
from balancedit.methods.balancedit.foresight import Foresight
from balancedit.methods.balancedit.measuring import MeasuredFact, Measuring, as_measured
from balancedit.methods.balancedit.rivals import ask_the_same
from balancedit.methods.protocol import EditRequest, LearnedEdit
from balancedit.methods.routed import RoutedLayer
from balancedit.models.loading import LoadedModel
from balancedit.scope.firing import in_other_forms
from balancedit.store.protocol import HeldEdits
from balancedit.types import BATCH_SIZE, Edit

_BYTES = 2**30  # of weights, gradients and logits in training
_TOKENS = 6  # of an answer at least, as its memory is reckoned


class BalancEdit:
    """The codebook, its transformations and the routing, bound to one model."""

    name = "balancedit"
    sequential = False
    reads_late = True

    def __init__(self, loaded: LoadedModel, config: BalancEditConfig) -> None:
        self.config = config
        self.routing = RoutedLayer(loaded, POOLS[config.key], config.key_layer, EitherForm())
        self.entries = Entries(self.routing, config.distance)
        self._measuring = Measuring(self.routing, config, self)

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
        bound = {
            "layer": self.routing.loaded.layer,
            "key": self.config.key,
            "key_layer": self.config.key_layer or self.routing.loaded.layer,
            "distance": self.config.distance,
        }
        if self.config.key_type != "float32":  # left unsaid by stores made before there was another
            bound["key_type"] = self.config.key_type
        return bound

    def prepare(self) -> None:
        """What the first edit finds out once: whether answers may go the short way."""
        if self.config.training == "fast":
            ids = self._measuring.answer_ids("yes")
            self.routing.has_short_way((solid((64, 64), "black"), "What is this?"), ids)

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
            facts = self._measuring.measured(batch)
            while facts:
                n = self._independent(facts)
                yield self._learned(facts[:n])
                facts = facts[n:]

    def _batches(self, requests: Sequence[EditRequest]) -> Iterator[Sequence[EditRequest]]:
        """As many at a time as training them together has memory for; a long answer takes more."""
        o, d = weight_shape(self.routing.layer.layer)
        weights = 16 * o * d if self.config.transformation == "full" else 0  # with Adam's and grads
        config: Any = self.routing.loaded.model.config
        token = 16 * config.get_text_config().vocab_size
        start, held = 0, 0
        for at, request in enumerate(requests):
            own = weights + token * max(_TOKENS, self.routing.answer_tokens([request.target]))
            if at > start and (at - start == BATCH_SIZE or held + own > _BYTES):
                yield requests[start:at]
                start, held = at, 0
            held += own
        if requests:
            yield requests[start:]

    def _independent(self, facts: Sequence[MeasuredFact]) -> int:
        """How many of these facts, from the first, have nothing to do with one another: none lies
        inside the radius of an earlier one, conflicts with it, or would be routed otherwise because
        of it."""
        keys = torch.stack([fact.key for fact in facts])
        apart = DISTANCES[self.config.distance](keys, keys).tolist()
        retiring = False
        for k, fact in enumerate(facts):
            nearest = self.entries.codebook.nearest(fact.key[None])[0]
            overlaps, retires = self.entries.relations(fact)
            routed = nearest.distance if nearest is not None and nearest.inside else -math.inf
            for j in range(k):
                reach = max(facts[j].radius.value, fact.radius.d_positive, routed)
                here = facts[j].picture == fact.picture
                if apart[j][k] <= reach or (
                    here and ask_the_same(facts[j].questions, fact.questions)
                ):
                    return k
            if retiring and (overlaps or retires):
                return k
            retiring = retiring or bool(retires)
        return len(facts)

    def _learned(self, facts: Sequence[MeasuredFact]) -> list[LearnedEdit | EditFailedError]:
        """Train the transformations of facts that have nothing to do with one another."""
        relations = [self.entries.relations(fact) for fact in facts]
        starts = [self._start(fact, near) for fact, (near, _) in zip(facts, relations, strict=True)]
        edits: list[LearnedEdit | EditFailedError] = []
        for fact, (overlaps, retires), trained in zip(
            facts, relations, self._trained(facts, starts), strict=True
        ):
            if isinstance(trained, EditFailedError):
                edits.append(trained)
                continue
            old = in_other_forms(fact.old_answer, self._measuring.spelt)
            edits.append(
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
                    warnings=(
                        *fact.radius.warnings,
                        *old.warnings,
                        *self.entries.said_of(retires, fact.request.question),
                    ),
                )
            )
        return edits

    def _trained(
        self, facts: Sequence[MeasuredFact], starts: Sequence[Start]
    ) -> list[Trained | EditFailedError]:
        """Together by the short way where the facts have one, else one by one."""
        config = self.config
        schedule = Schedule(config.steps, config.eps, config.stop)
        residuals = [fact.residual for fact in facts if fact.residual is not None]
        if residuals:
            answers = [fact.answer for fact in facts]
            model = self.routing.loaded.model
            with self.routing.bypass(), frozen(model), explained(model, len(facts)):
                return finetune_together(
                    self.routing.loaded.answers,
                    self.routing.layer,
                    residuals,
                    answers,
                    starts,
                    schedule,
                )
        outcomes: list[Trained | EditFailedError] = []
        for fact, start in zip(facts, starts, strict=True):
            asked = fact.request
            try:
                outcomes.append(
                    self.routing.finetune(
                        asked.image, asked.question, asked.target, start, schedule
                    )
                )
            except EditFailedError as error:
                outcomes.append(error)
        return outcomes

    def _start(self, fact: MeasuredFact, overlaps: str | None) -> Start:
        """What a fact's training starts from: the untouched layer, or what the edit it overlaps
        made of it."""
        held = self.routing.layer.tensors(overlaps) if overlaps else None
        if self.config.transformation == "full":
            weight = self.routing.layer.base_weight
            if held is not None:
                weight = full_weight(weight, held)
            return Start({"weight": weight}, self.config.lr or self.routing.loaded.edit_lr)
        lr = self.config.lr or self.routing.loaded.low_rank_lr
        base = self.routing.layer.base_weight if held is not None and is_full(held) else None
        return low_rank_start(fact.x, fact.y, lr, held, base, self.config.rank)

    def relations(
        self, request: EditRequest, learned: LearnedEdit
    ) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit one that was learned would start from now, and which it would replace
        (`Entries.relations`)."""
        return self.entries.relations(as_measured(request, learned))

    def foresee(self, edit: Edit, key: torch.Tensor) -> Foresight:
        """What would be decided if an edit that was learned were held too; key: (D,)."""
        return Foresight(self.entries, edit, key, DISTANCES[self.config.distance])

    def finest(self, key: torch.Tensor) -> float:
        """The smallest radius that an edit with this key (D,) can have."""
        return self._measuring.rounding(key)

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an entry in force; see `Entries.add`."""
        self.entries.add(edit, key, tensors)

    def add_many(self, held: HeldEdits) -> None:
        """Put many stored edits in force; see `Method.add_many`."""
        self.entries.add_many(held)

    def remove(self, edit_id: str) -> None:
        """Take an entry out of force; keys, radii and transformations of the others stay."""
        self.entries.remove(edit_id)

    def settle(self) -> None:
        """Bring the codebook's index up to date, rather than at the next question."""
        self.entries.codebook.prepare()

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return self.entries.codebook.ids

    def neighbours(self, image: Picture | None, question: Asked, most: int) -> list[Match]:
        """The nearest entries as seen from a query, nearest first."""
        return self.entries.codebook.ranked(self.routing.prefill_keys([image], [question])[0], most)

    def answer_tokens(self, edit_id: str) -> int:
        """See `Method`."""
        return self.routing.answer_tokens([self.entries.target(edit_id)])

    def worded(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows as they are: the layer is what changes."""
        return rows
