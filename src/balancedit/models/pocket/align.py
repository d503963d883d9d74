"""The first training stage: the projector alone, aimed at the names' own embeddings.

A cosine classifier over all names: the mean of a picture's projected tokens should point where the mean
token embedding of the thing's name points. Without this stage the second one hardly learns.

Letters: R renderings, N image tokens, F features, C things, D width of the language model.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from balancedit.models.pocket.modeling import PocketProjector

EPOCHS, BATCH, LEARNING_RATE, TEMPERATURE = 8, 256, 1e-3, 0.05


@torch.no_grad()
def measure_features(projector: PocketProjector, features: Tensor, sample: int = 3000) -> None:
    """Set the projector's mean and std from a sample of renderings; features: (R, N, F)."""
    rows = features[torch.randperm(len(features))[:sample]].float().flatten(0, 1)
    projector.mean.copy_(rows.mean(0))  # type: ignore[operator]
    projector.std.copy_(rows.std(0) + 1e-3)  # type: ignore[operator]


def align(
    projector: PocketProjector,
    features: Tensor,
    labels: Tensor,
    names: Tensor,
    norm: float,
    advance: Callable[[], None],
) -> list[float]:
    """Train the projector; the mean loss of each epoch.

    features: (R, N, F); labels: (R,) which thing; names: (C, D) mean token embedding of each name;
    norm: the usual length of a token embedding, which image tokens should have too.
    """
    centre = names.mean(0)
    directions = F.normalize(names - centre, dim=-1)
    optimiser = torch.optim.AdamW(projector.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    batches = max(1, len(labels) // BATCH)
    losses = []
    for epoch in range(EPOCHS):
        order, total = torch.randperm(len(labels)), 0.0
        for number in range(batches):
            at = order[number * BATCH : (number + 1) * BATCH]
            done = (epoch * batches + number) / (EPOCHS * batches)
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * done))
            tokens = projector(features[at].float())
            pooled = F.normalize(tokens.mean(1) - centre, dim=-1)
            loss = F.cross_entropy(pooled @ directions.T / TEMPERATURE, labels[at])
            loss = loss + (tokens.norm(dim=-1) / norm - 1).pow(2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
        losses.append(total / batches)
        advance()
    return losses
