"""The first training stage: the projector alone, aimed at the language model's own word embeddings.

The summary tokens learn to be what they should say, each as a classifier over embeddings: three
slots for the pieces of the thing's name, one each for its group, the background's colour and the
count. The cells' mean learns to point at the mean embedding of the name. Without this stage the
second one hardly learns; with it, the language model reads image tokens almost like words.

Letters: R renderings, B of them, F features, S summary slots, V tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from balancedit.models.pocket.modeling import PocketProjector
from balancedit.models.pocket.questions import answer
from balancedit.models.pocket.scenes import Scene

EPOCHS, BATCH, LEARNING_RATE, TEMPERATURE = 24, 512, 1.5e-3, 0.05
CELLS_EVERY = 4  # one row in four trains the cells, which are easy
NAME_SLOTS = 3
BLACK_EVERY = 32  # one black picture to so many renderings
PADDING = "."  # fills the name's slots after its last piece


@torch.no_grad()
def measure_features(projector: PocketProjector, features: Tensor, sample: int = 3000) -> None:
    """Set the projector's mean and std from a sample of renderings; features: (R, G·G, F)."""
    rows = features[torch.randperm(len(features))[:sample]].float().flatten(0, 1)
    projector.mean.copy_(rows.mean(0))
    projector.std.copy_(rows.std(0) + 1e-3)


def slots(scene: Scene, tokenizer: Any) -> list[int]:
    """The token each summary slot should stand for, S = 6: name, group, background, count."""

    def pieces(text: str) -> list[int]:
        ids: list[int] = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        return ids

    padding = tokenizer(PADDING, add_special_tokens=False)["input_ids"]
    name = (pieces(answer(scene, "name")) + padding * NAME_SLOTS)[:NAME_SLOTS]
    return name + [pieces(answer(scene, k))[0] for k in ("group", "background", "count")]


def word_ids(shown: list[Scene], black: Scene, tokenizer: Any) -> Tensor:
    """(W,) sorted ids of the tokens that some slot of some scene stands for."""
    scenes = {(s.thing, s.background, s.count): s for s in shown}
    ids = {i for scene in [*scenes.values(), black] for i in slots(scene, tokenizer)}
    return torch.tensor(sorted(ids))


def align(
    projector: PocketProjector,
    features: Tensor,
    shown: list[Scene],
    black: tuple[Tensor, Scene],
    tokenizer: Any,
    embedding: Tensor,
    advance: Callable[[float], None],
) -> list[dict[str, float]]:
    """Train the projector; loss and share of right slots of each epoch.

    features: (R, G·G, F) of the scenes `shown`; black: features (G·G, F) and scene of the black
    picture; embedding: (V, D) of the language model; all on the projector's device. advance: called
    with each epoch's loss.
    """
    known: dict[tuple[str, str, int], list[int]] = {}
    for scene in shown:
        known.setdefault((scene.thing, scene.background, scene.count), slots(scene, tokenizer))
    device = features.device
    wanted = torch.tensor([known[s.thing, s.background, s.count] for s in shown], device=device)
    wanted_black = torch.tensor(slots(black[1], tokenizer), device=device)
    choices = word_ids(shown, black[1], tokenizer).to(device)
    norm = float(embedding.norm(dim=-1).mean())
    optimiser = torch.optim.AdamW(projector.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    batches = max(1, len(shown) // BATCH)
    log = []
    projector.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(shown), device=device)
        total, right = 0.0, 0.0
        for number in range(batches):
            at = order[number * BATCH : (number + 1) * BATCH]
            blacks = BATCH // BLACK_EVERY
            rows = torch.cat([features[at].float(), black[0].float().expand(blacks, -1, -1)])
            targets = torch.cat([wanted[at], wanted_black.expand(blacks, -1)])
            share = (epoch * batches + number) / (EPOCHS * batches)
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * share))
            loss, hit = _summary_loss(projector.aims(rows), targets, choices, embedding)
            loss = loss + _cell_loss(
                projector.cells(rows[::CELLS_EVERY]), targets[::CELLS_EVERY], embedding, norm
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
            right += hit
        log.append({"loss": round(total / batches, 4), "slots_right": round(right / batches, 4)})
        advance(log[-1]["loss"])
    projector.eval()
    return log


def _summary_loss(
    aims: Tensor, targets: Tensor, choices: Tensor, embedding: Tensor
) -> tuple[Tensor, float]:
    """aims: (B, S, D), targets: (B, S) token ids, choices: (W,) -> loss, and the share of slots
    nearest their word."""
    words = F.normalize(embedding[choices], dim=-1)
    logits = F.normalize(aims, dim=-1) @ words.T / TEMPERATURE  # (B, S, W)
    place = torch.searchsorted(choices, targets.contiguous())
    right = (logits.argmax(-1) == place).float().mean().item()
    return F.cross_entropy(logits.flatten(0, 1), place.flatten()), right


def _cell_loss(cells: Tensor, targets: Tensor, embedding: Tensor, norm: float) -> Tensor:
    """cells: (B, G·G, D), targets: (B, S) token ids; `norm`: a word's usual length."""
    name = F.normalize(embedding[targets[:, :NAME_SLOTS]].mean(1), dim=-1)
    away = 1 - (F.normalize(cells.mean(1), dim=-1) * name).sum(-1).mean()
    return away + (cells.norm(dim=-1) / norm - 1).pow(2).mean()
