"""FT: plain fine-tuning of one layer's weight, edit after edit. A baseline without a scope.

Each edit tunes the edited layer's weight on the new answer, starting from what the edit before it
left, and from then on every prompt goes through the tuned weight. There is no term that holds other
answers in place.

Edits build on one another, so taking one back from the middle means making the later ones again.
Each edit therefore keeps what that needs: its picture, its settings, and a digest of the edits that
it was made on. A weight that was made on just the edits now before it stands as it is; any other is
made again, in the same way, when the model is next asked.

Source: the BalancEdit authors' code (Adam, 25 steps, step size 1e-2, no KL term; the paper's
Appendix F says 1e-2 as well).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from balancedit.codebook import Match
from balancedit.keys import last_key
from balancedit.methods.protocol import EditRequest, LearnedEdit
from balancedit.methods.routed import RoutedMethod, check_adam
from balancedit.models.loading import LoadedModel
from balancedit.routing import Decision
from balancedit.types import Edit


@dataclass(frozen=True)
class FTConfig:
    """How each edit tunes the weight."""

    steps: int = 25  # Adam steps an edit (authors' code)
    lr: float | None = None  # Adam step size; None: what the model's table says
    eps: float = 1e-8  # Adam's ε (torch's default)

    def __post_init__(self) -> None:
        check_adam(self.steps, self.lr, self.eps)


#: Named settings. "paper" has the authors' step size, which suits their backbones.
PRESETS: dict[str, FTConfig] = {
    "recommended": FTConfig(),
    "paper": FTConfig(lr=1e-2),
}


@dataclass
class _Step:
    """One edit of the sequence. weight: (O, D) on the CPU, what the layer's weight became; made_on:
    digest of the edits that it was made on."""

    edit: Edit
    image: Image.Image
    adam: tuple[int, float, float]  # steps, lr, eps
    weight: torch.Tensor
    made_on: bytes


class FT(RoutedMethod):
    """The sequence of edits and the weight it led to, bound to one model.

    The module's own parameter is never touched: the tuned weight stands beside it, as a hook.
    Letters: O, D = the layer's output and input widths; H, W = a picture's height and width.
    """

    name = "ft"
    sequential = True
    positives = 0  # no radius to measure
    negative = None

    def __init__(self, loaded: LoadedModel, config: FTConfig) -> None:
        super().__init__(loaded, last_key)
        self.config = config
        self._steps: list[_Step] = []
        self._applied: tuple[str, torch.Tensor] | None = None  # whose weight the layer holds

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the model."""
        return {"layer": self._loaded.layer}

    def learn(self, request: EditRequest) -> LearnedEdit:
        """Tune the current weight on one fact. Nothing held changes. Raises `EditFailedError` when
        the loss is not a number.

        The tensors are ``weight`` (O, D) float32, and for making it again ``pixels`` (H, W, 3)
        uint8, ``adam`` (3,) float64 (steps, step size, ε) and ``made_on`` (32,) uint8. The key is
        all zeros (D,): nothing is looked up by it.
        """
        self.settle()
        start = self._steps[-1].weight if self._steps else self._layer.base_weight
        lr = self.config.lr if self.config.lr is not None else self._loaded.edit_lr
        adam = (self.config.steps, lr, self.config.eps)
        weight, loss = self._tuned(request.image, request.question, request.target, start, adam)
        made_on = self._lineages()[-1]
        return LearnedEdit(
            key=torch.zeros(weight.shape[1]),
            tensors={
                "weight": weight,
                "pixels": torch.from_numpy(np.array(request.image.convert("RGB"))),
                "adam": torch.tensor(adam, dtype=torch.float64),
                "made_on": torch.tensor(list(made_on), dtype=torch.uint8),
            },
            steps=self.config.steps,
            loss=loss,
            overlaps=self._steps[-1].edit.id if self._steps else None,
        )

    def _tuned(
        self,
        image: Image.Image,
        question: str,
        target: str,
        start: torch.Tensor,
        adam: tuple[int, float, float],
    ) -> tuple[torch.Tensor, float]:
        """The weight (O, D) that one edit makes of `start` (O, D), on the CPU, and its loss."""
        steps, lr, eps = adam
        trained = self._finetune(image, question, target, start, steps=steps, lr=lr, eps=eps)
        return trained.tensor.cpu(), trained.losses[-1]

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an edit at the end of the sequence; tensors as `learn` makes them."""
        steps, lr, eps = tensors["adam"].tolist()
        self._steps.append(
            _Step(
                edit,
                Image.fromarray(tensors["pixels"].numpy()),
                (int(steps), lr, eps),
                tensors["weight"],
                bytes(tensors["made_on"].tolist()),
            )
        )

    def remove(self, edit_id: str) -> None:
        """Take an edit out of the sequence; `settle` then makes again those that came after it."""
        self._steps = [s for s in self._steps if s.edit.id != edit_id]

    def settle(self) -> None:
        """Bring the layer's weight up to date with the edits held. Only edits that were made on
        others than those now before them are tuned again. Raises `EditFailedError`."""
        lineages = self._lineages()
        standing = [i for i, s in enumerate(self._steps) if s.made_on == lineages[i]]
        for i in range(standing[-1] + 1 if standing else 0, len(self._steps)):
            step = self._steps[i]
            start = self._steps[i - 1].weight if i else self._layer.base_weight
            question, target = step.edit.question, step.edit.target
            step.weight, _ = self._tuned(step.image, question, target, start, step.adam)
            step.made_on = lineages[i]
        self._apply_newest()

    def _lineages(self) -> list[bytes]:
        """For each edit held, and for the next one, a digest (32 bytes) of the edits before it, in
        their order: with the original weight these determine the tuned one."""
        digests = [bytes(32)]
        for step in self._steps:
            digests.append(hashlib.sha256(digests[-1] + step.edit.id.encode()).digest())
        return digests

    def _apply_newest(self) -> None:
        """Put the newest edit's weight beside the layer, in place of the one that is there."""
        newest = self._steps[-1] if self._steps else None
        if self._applied is not None:
            edit_id, weight = self._applied
            if newest is not None and newest.weight is weight:
                return
            self._layer.remove(edit_id)
        self._applied = (newest.edit.id, newest.weight) if newest else None
        if newest is not None:
            self._layer.add(newest.edit.id, newest.weight)
        self._decide_by(self._decide if newest else None)

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return [s.edit.id for s in self._steps]

    def neighbours(self, image: Image.Image | None, question: str) -> list[Match]:
        """None: no edit is nearer to a prompt than another."""
        return []

    def _decide(self, keys: torch.Tensor) -> list[Decision]:
        """Every prompt goes through the weight that the newest edit left."""
        assert self._applied is not None
        newest = self._applied[0]
        return [Decision(fired=newest, nearest=newest)] * len(keys)
