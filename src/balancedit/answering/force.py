"""Teacher forcing: what a model finds most likely at each token of a given answer.

Letters: T = tokens of an answer, K = candidates kept a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from balancedit.answering.failures import explained
from balancedit.answering.protocol import Answers
from balancedit.inputs.pairing import Row, batches
from balancedit.layer.prompts import with_answers
from balancedit.learning.loop import answer_logits
from balancedit.models.loading import LoadedModel


@dataclass(frozen=True)
class ForcedAnswer:
    """One answer's token ids, (T,), without an end token, and at each of them the most likely ids
    given the prompt and the answer's tokens before it, (T, K), most likely first."""

    ids: tuple[int, ...]
    top: tuple[tuple[int, ...], ...]


@torch.no_grad()
def force_answers(
    loaded: LoadedModel,
    method: Answers,
    rows: Sequence[Row],
    answers: Sequence[str],
    *,
    candidates: int,
    batch_size: int,
) -> list[ForcedAnswer]:
    """Rows of (image or None, question) and an answer each, in batches of at most `batch_size`, in
    order. Routing sees the prompts alone."""
    made: dict[int, ForcedAnswer] = {}
    for batch in batches([image for image, _ in rows], batch_size):
        ids = [loaded.prompter.answer_ids(answers[i], loaded.eos)[:-1] for i in batch]
        found = _force_batch(loaded, method, [rows[i] for i in batch], ids, candidates)
        made.update(zip(batch, found, strict=True))
    return [made[i] for i in range(len(rows))]


def _force_batch(
    loaded: LoadedModel,
    method: Answers,
    rows: Sequence[Row],
    answers: Sequence[list[int]],
    candidates: int,
) -> list[ForcedAnswer]:
    asked = method.worded(rows)
    inputs = loaded.to_device(loaded.prompter.inputs([i for i, _ in asked], [q for _, q in asked]))
    lengths = inputs["attention_mask"].sum(1)
    full = with_answers(loaded.model, inputs, answers)
    with method.routing.prompt_lengths(lengths), explained(loaded.model, len(rows)):
        logits = answer_logits(loaded.model, full, answers)
    kept = [x.topk(min(candidates, x.shape[-1])).indices.tolist() for x in logits]
    return [
        ForcedAnswer(tuple(ids), tuple(tuple(position) for position in top))
        for ids, top in zip(answers, kept, strict=True)
    ]
