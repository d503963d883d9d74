"""The second training stage: a LoRA on the language model, with the aligned projector as it is.

Training the projector further would fit it to the training renderings.

Every step's rows follow from its number, so a run that was killed goes on exactly where it was.

Letters: B rows, T tokens, N image tokens a picture, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from balancedit.models.pocket.recipe import curriculum
from balancedit.models.pocket.recipe.curriculum import BLACK, Row
from balancedit.models.pocket.recipe.low_rank_run import LowRankRun
from balancedit.models.pocket.scenes import Scene

IMAGE_ROWS, FACT_ROWS, TEXT_ROWS = 64, 8, 4  # facts at even steps, texts at odd ones
FACT_WEIGHT = 0.25  # of a nat an answer, beside the image rows'
TEXT_WEIGHT = 1.0  # of a nat of divergence a token
LEARNING_RATE = 6e-4
WARM_UP, DECAY = 20, 500  # steps; the rate falls along a cosine, whose end is not waited for
SAVE_EVERY = 50


class Trainer(LowRankRun):
    """A run with the projector and the renderings' features."""

    def __init__(
        self,
        language_model: nn.Module,
        tokenizer: Any,
        projector: nn.Module,
        features: Tensor,
        black: Tensor,
        shown: list[Scene],
        texts: list[str],
    ) -> None:
        """features: (R, G·G, F) of the scenes `shown`; black: (G·G, F) of the black picture; texts:
        plain conversations, in chat format. All tensors and both modules are on one device."""
        super().__init__(language_model, tokenizer, texts)
        self._projector = projector.eval()
        self._features, self._black, self._shown = features, black, shown
        self._image_tokens = self._project([BLACK]).shape[1]

    def run(
        self, steps: int, checkpoint: Path, advance: Callable[[int, float], None]
    ) -> list[float]:
        """Train up to `steps`, from `checkpoint` if it exists; the loss of each step, in nats an
        answer."""
        return self._run(self._step, steps, checkpoint, SAVE_EVERY, advance)

    def _step(self, step: int) -> float:
        chance = Random(f"step{step}")
        cosine = 0.525 + 0.475 * math.cos(math.pi * min(1.0, step / DECAY))
        share = min(1.0, (step + 1) / WARM_UP) * cosine
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * share
        self._optimiser.zero_grad()
        loss = self._loss(curriculum.image_rows(self._shown, IMAGE_ROWS, chance))
        loss.backward()
        if step % 2 == 0:
            facts = curriculum.fact_rows(self._shown, FACT_ROWS, chance)
            (self._loss(facts) * FACT_WEIGHT).backward()
        else:
            texts = chance.choices(self._texts, k=TEXT_ROWS)
            (self._divergence(texts) * TEXT_WEIGHT).backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        return float(loss.item())

    def _loss(self, rows: list[Row]) -> Tensor:
        """Nats an answer, the end token included; the head runs at answer positions only."""
        embeds, mask, labels = self._batch(rows)
        scored = labels[:, 1:] != -100
        logits = self._logits(embeds, mask, scored)  # (answer tokens, V)
        return F.cross_entropy(logits, labels[:, 1:][scored], reduction="sum") / len(rows)

    def _batch(self, rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, T, D), mask (B, T) and labels (B, T) of prompts with answers."""
        sequences, answers = [], []
        picture = [-1] * self._image_tokens
        for row in rows:
            answers.append(self._ids(row.answer) + self._end)
            asked = picture + self._ids(row.prompt)
            sequences.append(self._before + asked + self._after + answers[-1])
        ids, mask = self._padded(sequences)
        labels = torch.full_like(ids, -100)
        for number, (sequence, answer) in enumerate(zip(sequences, answers, strict=True)):
            at = slice(len(sequence) - len(answer), len(sequence))
            labels[number, at] = ids[number, at]
        embeds = F.embedding(ids.clamp_min(0), self._embedding)
        projected = self._project([row.rendering for row in rows])
        return embeds.masked_scatter((ids == -1)[..., None], projected), mask, labels

    @torch.no_grad()
    def _project(self, renderings: list[int]) -> Tensor:
        """Numbers of renderings, or BLACK -> (B, N, D) image tokens."""
        shown = [self._black if n == BLACK else self._features[n] for n in renderings]
        return self._projector(torch.stack(shown).float())
