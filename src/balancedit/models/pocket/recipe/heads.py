"""The second stage of `train_concepts`: the projector's classifiers, on the features of `gather`.

They learn which domain a picture is of and, within it, which concept; the colour behind a drawing
and how many there are. Half the rows are mixed with another of their domain. Kinds of groceries
count once more, since a product mistaken for another of its kind is the smaller mistake.

Letters: R rows, B of a batch, G cells a side, F features a cell, L learned concepts, I ImageNet's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from balancedit.models.pocket import concepts
from balancedit.models.pocket.concept_projector import CLASSES, COLOURS, ConceptProjector
from balancedit.models.pocket.concepts import LEARNED
from balancedit.models.pocket.recipe.gather import Label

EPOCHS, BATCH, BLACKS, LEARNING_RATE = 6, 512, 4, 1.5e-3
SHARES = {"drawing": 0.58, "grocery": 0.32, "clothes": 0.10}  # of a batch
SMOOTHING, MIXED, KINDS, SCENE = 0.05, 0.3, 0.3, 0.3
FLOOR = 0.03  # of the evidence is spread evenly
UNKNOWN = -100  # no such label
SAMPLE = 6000  # pictures of a domain that its evidence is measured on


@dataclass(frozen=True)
class Targets:
    """What rows show: concept, domain, colour and count, each (R,); UNKNOWN where not known."""

    concept: Tensor
    domain: Tensor
    colour: Tensor
    count: Tensor

    def at(self, rows: Tensor) -> Targets:
        """Those of some rows."""
        return Targets(self.concept[rows], self.domain[rows], self.colour[rows], self.count[rows])

    def and_black(self, blacks: int) -> Targets:
        """The same and so many black pictures."""
        extra = (0, LEARNED.index("nothing"), COLOURS.index("black"), 0)
        parts = (self.concept, self.domain, self.colour, self.count)
        return Targets(
            *(torch.cat([p, torch.full((blacks,), x)]) for p, x in zip(parts, extra, strict=True))
        )


def targets(labels: list[Label]) -> Targets:
    """What labelled pictures show."""
    numbers = concepts.numbers()
    drawn = [label.domain == "drawing" for label in labels]
    colour = [
        COLOURS.index(label.background) if label.background in COLOURS else UNKNOWN
        for label in labels
    ]
    return Targets(
        torch.tensor([numbers[label.domain, label.key] for label in labels]),
        torch.tensor([LEARNED.index(label.domain) for label in labels]),
        torch.tensor(colour),
        torch.tensor(
            [label.count if d else UNKNOWN for label, d in zip(labels, drawn, strict=True)]
        ),
    )


@torch.no_grad()
def measure(projector: ConceptProjector, cells: Tensor, known: Targets, black: Tensor) -> None:
    """Set the features' mean and spread, and how each domain looks to ImageNet's classifier.

    cells: (R, G·G, F) in half precision; black: (G·G, F) of the black picture."""
    some = torch.cat([_some(cells, known, d, 1500) for d in ("drawing", "grocery", "clothes")])
    rows = some.float().flatten(0, 1)
    projector.mean.copy_(rows.mean(0))
    projector.std.copy_(rows.std(0) + 1e-3)
    for number, domain in enumerate(LEARNED):
        shown = black[None] if domain == "nothing" else _some(cells, known, domain, SAMPLE)
        parts = [projector.classes(part.float()).exp() for part in shown.split(BATCH)]
        share = torch.cat(parts).mean(0)
        projector.evidence[:, number] = ((1 - FLOOR) * share + FLOOR / CLASSES) * CLASSES


def _some(cells: Tensor, known: Targets, domain: str, count: int) -> Tensor:
    rows = (known.domain == LEARNED.index(domain)).nonzero()[:, 0]
    return cells[rows[torch.randperm(len(rows))[:count]]]


def train(
    projector: ConceptProjector,
    cells: Tensor,
    known: Targets,
    black: Tensor,
    advance: Callable[[float], None],
    epochs: int = EPOCHS,
) -> list[float]:
    """Train the classifiers; the mean loss of each epoch. advance: called with it."""
    pooled = torch.cat([_pooled(projector, part).half() for part in cells.split(2048)])
    pooled_black = _pooled(projector, black[None]).expand(BLACKS, -1)
    weights = _weights(known)
    heads = ("trunk", "domains", "known", "colour.", "count.")
    trained = [p for name, p in projector.named_parameters() if name.startswith(heads)]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.05)
    batches = max(1, len(pooled) // BATCH)
    losses = []
    projector.train()
    for epoch in range(epochs):
        total = 0.0
        for number in range(batches):
            step = epoch * batches + number
            share = 0.5 + 0.5 * math.cos(math.pi * step / (epochs * batches))
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * share * min(1.0, (step + 1) / 50)
            rows = torch.multinomial(weights, BATCH, replacement=True)
            seen = torch.cat([pooled[rows].float(), pooled_black])
            loss = _loss(projector, seen, known.at(rows).and_black(BLACKS))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
        losses.append(round(total / batches, 4))
        advance(losses[-1])
    projector.eval()
    return losses


@torch.no_grad()
def _pooled(projector: ConceptProjector, cells: Tensor) -> Tensor:
    return projector.pooled((cells.float() - projector.mean) / projector.std)


def _weights(known: Targets) -> Tensor:
    """How often each row is drawn: the domains in their shares; a product's rows more often where
    it has few photographs."""
    weights = torch.zeros(len(known.domain))
    photographs = torch.bincount(known.concept).float()
    for domain, share in SHARES.items():
        mine = known.domain == LEARNED.index(domain)
        rare = photographs[known.concept[mine]].rsqrt()
        each = rare if domain == "grocery" else torch.ones_like(rare)
        weights[mine] = share * each / each.sum()
    return weights


def _loss(projector: ConceptProjector, pooled: Tensor, known: Targets) -> Tensor:
    """pooled: (B, 2 F) -> the mean loss of a batch."""
    partner, share = _partners(known.domain)
    alone = share[:, 0] == 1
    trunk = projector.trunk(share * pooled + (1 - share) * pooled[partner])
    within = projector.within(projector.known(trunk))
    mine = projector.domain.T[known.domain]

    def surprise(concept: Tensor) -> Tensor:
        spread = within.masked_fill(mine == 0, 0).sum(1) / mine.sum(1)
        told = within.gather(1, concept[:, None])[:, 0]
        return -((1 - SMOOTHING) * told + SMOOTHING * spread)

    weight = share[:, 0]
    mixed = weight * surprise(known.concept) + (1 - weight) * surprise(known.concept[partner])
    loss = mixed.mean() + F.cross_entropy(projector.domains(trunk), known.domain)
    bought = (known.domain == LEARNED.index("grocery")) & alone
    if bought.any():
        loss = loss + KINDS * _kinds(projector, within[bought], known.concept[bought])
    scene = F.cross_entropy(projector.colour(trunk)[alone], known.colour[alone])
    scene = scene + F.cross_entropy(projector.count(trunk)[alone], known.count[alone])
    return loss + SCENE * scene


def _kinds(projector: ConceptProjector, within: Tensor, concept: Tensor) -> Tensor:
    """How surprising the right kinds of groceries are. within: (B, L) log probabilities."""
    groceries = within.exp() * projector.domain[:, LEARNED.index("grocery")]
    of = projector.kinds.of[: within.shape[1]]
    kinds = within.new_zeros(len(within), len(projector.kinds.codes)).index_add(1, of, groceries)
    return F.nll_loss((kinds + 1e-6).log(), projector.kinds.of[concept])


def _partners(domain: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) another row of the same domain for each, and (B, 1) how much of a row is its own."""
    partner = torch.arange(len(domain))
    for number in range(1, len(LEARNED)):
        rows = (domain == number).nonzero()[:, 0]
        partner[rows] = rows[torch.randperm(len(rows))]
    share = torch.distributions.Beta(MIXED, MIXED).sample((len(domain), 1))
    return partner, torch.where(torch.rand(len(domain), 1) < 0.5, share, torch.ones(()))
