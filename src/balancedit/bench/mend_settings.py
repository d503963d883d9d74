"""How MEND's network is trained, and on which edits.

Source: Mitchell et al., *Fast Model Editing at Scale* (2022), and its repository.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from balancedit.data.sample import EditSample
from balancedit.errors import InputError
from balancedit.methods.presets import alike

#: Files of a run: the best network, and the network before its first step.
NETWORK, UNTRAINED = "mend.safetensors", "untrained.safetensors"


@dataclass(frozen=True)
class MendTraining:
    """How a network is trained. Numbers without another source are the MEND repository's."""

    rank: int = 1920  # of the low-rank layers, at most the sum of the weight's widths
    edit_lr: float = 1e-4  # where the learned step size of an update starts
    lr: float = 1e-6  # Adam step size of the network
    lr_lr: float = 1e-4  # Adam step size of the learned step size
    reach: float = 0.1  # weight of each of the two NLL terms
    keep: float = 1.0  # weight of the KL term
    locality: int = 2  # locality probes an edit, each of another kind (EasyEdit: text and picture)
    accumulate: int = 10  # edits that make the gradient of one Adam step
    clip: float = 100.0  # norm above which a gradient is scaled down
    steps: int = 10_000  # Adam steps at most
    check: int = 100  # Adam steps between two looks at the validation edits
    patience: int = 20  # looks without a better validation loss after which training stops
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "locality", "accumulate", "steps", "check", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("edit_lr", "lr", "lr_lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; give a positive number")
        for name in ("reach", "keep"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; a weight is 0 or more")

    def lasting(self) -> dict[str, Any]:
        """What makes two runs the same: all but when to stop, so that a run can be prolonged."""
        return {k: v for k, v in asdict(self).items() if k not in ("steps", "patience")}


#: Named settings. The source's Adam step sizes are for models a hundred times as large.
PRESETS: dict[str, MendTraining] = {
    "recommended": MendTraining(rank=128, lr=1e-4, lr_lr=1e-3),
    **alike(MendTraining()),
}


def split(samples: Sequence[EditSample], n: int) -> tuple[list[EditSample], list[EditSample]]:
    """(training, validation): the last n edits are held out, and of the others those that show a
    thing which a held-out one shows are left out. Raises `InputError` where nothing is left."""
    if not 1 <= n < len(samples):
        raise InputError(
            f"{n} validation edits cannot be held out of {len(samples)}; give 1 to "
            f"{len(samples) - 1}"
        )
    validation = list(samples[-n:])
    shown = {sample.shows for sample in validation}
    training = [sample for sample in samples[:-n] if sample.shows not in shown]
    if not training:
        raise InputError(
            "the validation edits show everything that there is to train on; hold out fewer"
        )
    return training, validation
