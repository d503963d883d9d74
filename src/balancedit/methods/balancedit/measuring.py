"""What is measured of a fact before it is trained: its key, its radius, its answer's states at the
edited layer, and what the untouched model says to it; all from one batched prefill.

Letters: A = tokens of an answer with the end token, D, O = the edited layer's input and output
widths (the key's D is that of the key layer's input), P = rephrasings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import torch

from balancedit.answering.generate import untouched
from balancedit.answering.protocol import Answers
from balancedit.codebook.codebook import DISTANCES
from balancedit.codebook.pooling import kept_as
from balancedit.errors import InputError
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import picture_hash
from balancedit.layer.decisions import AnswerIds, Said
from balancedit.learning.answer_rows import Residual
from balancedit.methods.balancedit.config import BalancEditConfig
from balancedit.methods.protocol import EditRequest, LearnedEdit
from balancedit.methods.routed import Prompt, RoutedLayer
from balancedit.scope.firing import OldAnswer, old_answer
from balancedit.scope.radius import Radius, influence_radius

_FAR_KEYS = 1024  # negatives whose keys are remembered while attached
_IN_PASSING = 16  # tokens of an old answer, at most, that rewordings are checked for in passing


@dataclass(frozen=True)
class MeasuredFact:
    """One fact as the prefill found it: answer ids with the end token, key (D,), radius, what the
    untouched model says to the question and its rephrasings (empty where it is not asked), input x
    (A, D) and output y (A, O) of the edited layer at the answer's positions, and the answer's state
    where the short way begins; None: it goes the long way."""

    request: EditRequest
    answer: Sequence[int]
    key: torch.Tensor
    radius: Radius
    untouched_answers: tuple[Said, ...]
    x: torch.Tensor
    y: torch.Tensor
    residual: Residual | None

    @cached_property
    def picture(self) -> str:
        """The `picture_hash` of what it is about."""
        return picture_hash(self.request.image)

    @property
    def questions(self) -> tuple[str, ...]:
        """Its question, then the rephrasings."""
        return self.request.question, *self.request.positives

    @cached_property
    def old_answer(self) -> OldAnswer:
        """What the untouched model must say where the edit fires."""
        said = self.untouched_answers
        return old_answer(said) if said else OldAnswer(None)


def as_measured(request: EditRequest, learned: LearnedEdit) -> MeasuredFact:
    """A fact that was learned, as far as it tells which others are the same."""
    unknown = math.nan
    d_positive, d_negative = learned.d_positive, learned.d_negative
    radius = Radius(
        unknown if learned.radius is None else learned.radius,
        unknown if d_positive is None else d_positive,
        unknown if d_negative is None else d_negative,
    )
    old = learned.old_answer
    said = () if old is None else tuple(Said(old, ids) for ids in learned.old_tokens)
    nothing = torch.empty(0)
    return MeasuredFact(request, (), learned.key, radius, said, nothing, nothing, None)


class Measuring:
    """Measures facts for one codebook. asked: the method, as the untouched model is asked."""

    def __init__(self, routing: RoutedLayer, config: BalancEditConfig, asked: Answers) -> None:
        self._routing, self._config, self._asked = routing, config, asked
        self._far_keys: dict[tuple[str, str], torch.Tensor] = {}  # by negative and question
        routing.when_detached.append(self._far_keys.clear)  # the model may be another by then

    def measured(self, requests: Sequence[EditRequest]) -> list[MeasuredFact]:
        """Keys, radii and the answers' states of a batch of facts: all their prompts in as few
        passes as memory allows."""
        answers = [self.answer_ids(r.target) for r in requests]
        first: Row = (requests[0].image, requests[0].question)
        short = self._config.training == "fast" and self._routing.has_short_way(first, answers[0])
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
        keys, states, gives = self._routing.read(prompts)
        n, p = len(requests), len(reworded)
        own, positives, negatives = keys.split([n, p, len(unread)])
        self._far_keys |= dict(zip(unread, negatives, strict=True))
        own = kept_as(own, self._config.key_type)
        at_positives = positives.split([len(r.positives) for r in requests])
        untouched_answers = self._untouched_answers(requests, reworded, gives[n : n + p])
        return [
            MeasuredFact(
                request,
                answers[i],
                own[i],
                self._radius(own[i], at_positives[i], self._far_keys[far[i]]),
                untouched_answers[i],
                states.x[i],
                states.y[i],
                states.residuals[i] if short else None,
            )
            for i, request in enumerate(requests)
        ]

    def _expected(self, request: EditRequest) -> AnswerIds:
        """What the untouched model may say to a rewording; nothing where it is long, and so hardly
        ever the same."""
        answer = request.untouched
        return answer.ids if answer is not None and len(answer.ids) <= _IN_PASSING else ()

    def answer_ids(self, answer: str) -> list[int]:
        return self._routing.loaded.prompter.answer_ids(answer, self._routing.loaded.eos)

    def spelt(self, answer: str) -> AnswerIds | None:
        """The token ids of a text as an answer, its end included; None where they do not stand for
        just that text."""
        try:
            ids = self.answer_ids(answer)
        except InputError:
            return None
        said = self._routing.loaded.prompter.decode([ids])
        return tuple(ids) if said == [answer] else None

    def _untouched_answers(
        self, requests: Sequence[EditRequest], reworded: Sequence[Prompt], gives: Sequence[bool]
    ) -> list[tuple[Said, ...]]:
        """What the untouched model says to every request's question and rephrasings; it is asked
        only where it did not answer alike in passing (`gives`)."""
        answers = [r.untouched for r in requests for _ in r.positives]
        doubtful = [i for i, old in enumerate(answers) if old is not None and not gives[i]]
        rows = [(reworded[i].image, reworded[i].question) for i in doubtful]
        for i, other in zip(
            doubtful, untouched(self._routing.loaded, self._asked, rows), strict=True
        ):
            answers[i] = other
        others = iter(answers)
        by_request = []
        for r in requests:
            own = [one for one in islice(others, len(r.positives)) if one is not None]
            by_request.append((r.untouched, *own) if r.untouched is not None else ())
        return by_request

    def _radius(self, key: torch.Tensor, positives: torch.Tensor, negative: torch.Tensor) -> Radius:
        """The radius around a key (D,), from positives (P, D) and a negative (D,)."""
        samples = torch.cat([positives, negative[None]])
        *near, far = DISTANCES[self._config.distance](key[None], samples)[0].tolist()
        keep = self._config.degenerate == "keep"
        radius = influence_radius(near, far, self._config.alpha, keep_degenerate=keep)
        return replace(radius, value=max(radius.value, self.rounding(key)))

    def rounding(self, key: torch.Tensor) -> float:
        """How far a prompt's key (D,) may lie from itself when it is read in another batch: less
        than that no radius can be, or the edit would miss its own question."""
        share = torch.finfo(self._routing.loaded.dtype).eps
        return share * (key.norm().item() if self._config.distance == "euclidean" else 1.0)
