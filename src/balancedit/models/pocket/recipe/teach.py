"""The last training stage: a LoRA on the language model, which learns to read the concepts' words
and to talk.

What the classifiers say is made up here (mostly right, now and then torn between two concepts), so
that the language model says what is told it, of classes too that no picture shows; the cells beside
are of a picture of the concept where there is one, else of another's.

Every step's rows follow from its number, so a run that was killed goes on exactly where it was.

Letters: B rows, T tokens, N image tokens a picture, D width, V vocabulary, G cells a side, F
features, C concepts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from balancedit.models.pocket.concept_projector import COLOURS, COUNTS, ConceptProjector
from balancedit.models.pocket.concepts import Concept, concepts, numbers
from balancedit.models.pocket.recipe.low_rank_run import LowRankRun
from balancedit.models.pocket.recipe.plain_texts import USER
from balancedit.models.pocket.recipe.taught_rows import Pictures, Row, Rows

ROWS, FACT_ROWS, TEXT_ROWS, PART = 40, 5, 4, 10  # facts at even steps, texts at odd ones
FACT_WEIGHT, TEXT_WEIGHT = 0.3, 1.0
LEARNING_RATE, WARM_UP = 5e-4, 10
SAVE_EVERY = 10


class Teacher(LowRankRun):
    """A run with the projector and the pictures that conversations are about."""

    def __init__(
        self,
        language_model: nn.Module,
        tokenizer: Any,
        projector: ConceptProjector,
        pictures: Pictures,
        texts: Sequence[str],
        start: dict[str, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        """texts: plain conversations, in chat format. start: a LoRA to begin with, layer path ->
        (a, b). The language model's weights are in bfloat16."""
        super().__init__(language_model, tokenizer, texts)
        self._projector = projector.eval()
        self._pictures, self._rows = pictures, Rows(pictures)
        self._next = self._ids("\n" + USER)
        if start:
            self._begin_with(start)

    def run(
        self, steps: int, checkpoint: Path, advance: Callable[[int, float], None]
    ) -> list[float]:
        """Train up to `steps`, from `checkpoint` if it exists; the loss of each step, in nats an
        answer."""
        step = partial(self._step, steps=steps)
        return self._run(step, steps, checkpoint, SAVE_EVERY, advance)

    @torch.no_grad()
    def _begin_with(self, start: dict[str, tuple[Tensor, Tensor]]) -> None:
        for name, (a, b) in self.low_rank().items():
            a.copy_(start[name][0])
            b.copy_(start[name][1])

    def _step(self, step: int, steps: int) -> float:
        chance = Random(f"step{step}")
        cosine = 0.53 + 0.47 * math.cos(math.pi * step / steps)
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * cosine
        self._optimiser.zero_grad()
        rows = self._rows.some(ROWS, chance)
        answers = sum(len(row.turns) for row in rows)
        rows.sort(key=lambda row: sum(len(t.question) + len(t.answer) for t in row.turns))
        total = 0.0
        for at in range(0, ROWS, PART):
            loss = self._loss(rows[at : at + PART], chance) / answers
            loss.backward()
            total += float(loss.item())
        if step % 2 == 0:
            facts = self._rows.some(FACT_ROWS, chance, facts=True)
            (self._loss(facts, chance) * FACT_WEIGHT / FACT_ROWS).backward()
        else:
            texts = chance.choices(self._texts, k=TEXT_ROWS)
            (self._divergence(texts) * TEXT_WEIGHT).backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        return total

    def _loss(self, rows: list[Row], chance: Random) -> Tensor:
        """Nats of all answers, their end tokens included."""
        embeds, mask, labels = self._batch(rows, chance)
        scored = labels[:, 1:] != -100
        logits = self._logits(embeds, mask, scored)
        return F.cross_entropy(logits, labels[:, 1:][scored], reduction="sum")

    def _logits(self, embeds: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
        """As for every run, in bfloat16 up to the logits, which are float32."""
        with torch.autocast(embeds.device.type, torch.bfloat16):
            return super()._logits(embeds, mask, scored).float()

    def _batch(self, rows: list[Row], chance: Random) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, T, D), mask (B, T) and labels (B, T) of conversations."""
        projected = self._project(rows, chance).to(self._embedding.dtype)
        picture = [-1] * projected.shape[1]
        sequences: list[list[int]] = []
        wanted: list[list[int]] = []
        for row in rows:
            ids, labels = self._before + picture, [-100] * (len(self._before) + len(picture))
            for number, turn in enumerate(row.turns):
                asked = (self._next if number else []) + self._ids(turn.question) + self._after
                answer = self._ids(turn.answer) + self._end
                ids, labels = ids + asked + answer, labels + [-100] * len(asked) + answer
            sequences.append(ids)
            wanted.append(labels)
        ids_of, mask = self._padded(sequences)
        labels_of = torch.full_like(ids_of, -100)
        for number, labels in enumerate(wanted):
            labels_of[number, : len(labels)] = torch.tensor(labels)
        embeds = F.embedding(ids_of.clamp_min(0), self._embedding)
        return embeds.masked_scatter((ids_of == -1)[..., None], projected), mask, labels_of

    @torch.no_grad()
    def _project(self, rows: list[Row], chance: Random) -> Tensor:
        """(B, N, D) image tokens."""
        shown = torch.stack(
            [
                self._pictures.black if r.picture < 0 else self._pictures.features[r.picture]
                for r in rows
            ]
        ).float()
        cells = self._projector.cells((shown - self._projector.mean) / self._projector.std)
        told = self._projector.told(*self._posterior(rows, chance))
        return torch.cat([told, cells], dim=1)

    def _posterior(self, rows: list[Row], chance: Random) -> tuple[Tensor, Tensor, Tensor]:
        """What the classifiers might say: probabilities of concepts (B, C), colours and counts."""
        every = len(concepts())
        concept = torch.zeros(len(rows), every)
        colour = torch.zeros(len(rows), len(COLOURS) + 1)
        count = torch.zeros(len(rows), len(COUNTS) + 1)
        for at, row in enumerate(rows):
            seen = row.seen.concept
            mine = numbers()[seen.domain, seen.key]
            sure = 1.0 if chance.random() < 0.4 else chance.uniform(0.5, 1.0)
            concept[at, mine] += sure
            concept[at, chance.choice(_alike()[_family(seen)])] += (1 - sure) * 0.7
            concept[at, chance.randrange(every)] += (1 - sure) * 0.3
            if seen.domain in ("drawing", "nothing"):
                colour[at, COLOURS.index(row.seen.background or "black")] = 1
                count[at, row.seen.count] = 1
            else:
                colour[at, self._projector.colours.of[mine]] = 1
                count[at, len(COUNTS)] = 1
        return concept, colour, count


def _family(concept: Concept) -> tuple[str, str, str]:
    return concept.domain, concept.kind, concept.group


@lru_cache(maxsize=1)
def _alike() -> dict[tuple[str, str, str], list[int]]:
    """The numbers of the concepts of each domain that are of one kind and class."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for number, concept in enumerate(concepts()):
        found[_family(concept)].append(number)
    return found
