"""The loss that MEND's network is trained with: rephrasings and other pictures must get the target
(NLL), locality probes the answer that they had (KL divergence).

Source: Mitchell et al., *Fast Model Editing at Scale* (2022), Section 3.2, with the losses of
EasyEdit's version for vision-language models.

Letters: A = tokens of one answer, V = vocabulary, D, O = the layer's input and output widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from balancedit.bench.last_block import Group, Replay
from balancedit.bench.protocols import REACH
from balancedit.methods.mend import Gradients
from balancedit.methods.mend_network import MendNetwork


@dataclass(frozen=True)
class Losses:
    """Mean losses of some edits. rephrased, redrawn: nats a token; moved: KL divergence, nats."""

    total: float
    rephrased: float
    redrawn: float
    moved: float

    @classmethod
    def mean(cls, parts: Sequence[tuple[int, Losses]]) -> Losses:
        """Of parts of so many edits each."""
        total = sum(n for n, _ in parts)
        names = [f.name for f in fields(cls)]
        return cls(*(sum(n * getattr(part, name) for n, part in parts) / total for name in names))


class Probed(NamedTuple):
    """A probe as the replay wants it, and its answer's token ids with the end token."""

    encoded: Any
    answer: Sequence[int]


@dataclass(frozen=True)
class PreparedEdit:
    """An edit, and its probes by what they measure, each encoded with its answer's ids."""

    id: str
    gradients: Gradients
    probes: dict[str, list[Probed]]

    def draw(self, chance: Random, locality: int) -> DrawnEdit:
        """A rephrasing, another picture (the edit's own query where it has none), and so many
        locality probes, of different kinds."""
        rephrased, redrawn = (
            chance.choice(self.probes.get(name) or self.probes["Acc"])
            for name in ("T-Gen", "I-Gen")
        )
        kinds = sorted(self.probes.keys() - set(REACH))
        kinds = chance.sample(kinds, min(locality, len(kinds)))
        kept = [chance.choice(self.probes[kind]).encoded for kind in kinds]
        return DrawnEdit(self.gradients, rephrased, redrawn, kept)


class DrawnEdit(NamedTuple):
    """What the loss of one edit is made of: its gradients, two probes that it must reach, and
    encoded ones that it must leave alone."""

    gradients: Gradients
    rephrased: Probed
    redrawn: Probed
    kept: Sequence[Any]


def mean_loss(
    replay: Replay,
    network: MendNetwork,
    base: torch.Tensor,
    drawn: Sequence[DrawnEdit],
    *,
    reach: float,
    keep: float,
) -> tuple[torch.Tensor, Losses]:
    """The mean loss of some edits, (), with gradients to the network.

    base: the edited layer's own weight, (O, D). reach, keep: weights of each NLL term and of the KL
    term.
    """
    groups = [
        Group(
            [d.rephrased.encoded, d.redrawn.encoded, *d.kept],
            base + network(d.gradients.u, d.gradients.delta),
        )
        for d in drawn
    ]
    after = iter(replay.logits(groups))
    with torch.no_grad():
        kept = [row for d in drawn for row in d.kept]
        before = iter(replay.logits([Group(kept, None)]) if kept else ())
    terms = []  # of each edit: rephrased, redrawn, moved
    for d in drawn:
        terms += [_nll(next(after), d.rephrased.answer), _nll(next(after), d.redrawn.answer)]
        moved = [_divergence(next(before), next(after)) for _ in d.kept]
        terms.append(torch.cat(moved).mean() if moved else torch.zeros_like(terms[0]))
    rephrased, redrawn, moved_by = torch.stack(terms).reshape(-1, 3).mean(0)
    loss = reach * (rephrased + redrawn) + keep * moved_by
    return loss, Losses(loss.item(), rephrased.item(), redrawn.item(), moved_by.item())


def _nll(logits: torch.Tensor, answer: Sequence[int]) -> torch.Tensor:
    """Mean cross-entropy, nats a token. logits: (A, V)."""
    return F.cross_entropy(logits, torch.tensor(list(answer), device=logits.device))


def _divergence(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """KL(before ‖ after) at each position, nats. Both: (A, V) logits -> (A,)."""
    apart = F.kl_div(
        after.log_softmax(-1), before.log_softmax(-1), log_target=True, reduction="none"
    )
    return apart.sum(-1)
