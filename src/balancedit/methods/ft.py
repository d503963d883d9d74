"""FT: plain fine-tuning of one layer's weight, edit after edit. A baseline without a scope.

Each edit tunes the edited layer's weight on the new answer, starting from what the edit before it
left, and from then on every prompt goes through the tuned weight. There is no term that holds other
answers in place. How the sequence is kept and undone: `sequence.py`.

Source: the BalancEdit authors' code (Adam, 25 steps, step size 1e-2, no KL term; the paper's
Appendix F says 1e-2 as well).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from balancedit.codebook.pooling import last_key
from balancedit.learning.loop import Schedule, Start
from balancedit.methods.presets import alike
from balancedit.methods.protocol import EditRequest, OfferedMethod
from balancedit.methods.routed import RoutedLayer, check_adam
from balancedit.methods.sequence import Settings, WeightSequence
from balancedit.models.loading import LoadedModel


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
    **alike(FTConfig(lr=1e-2)),
}


class FT:
    """How a weight is tuned. Letters: O, D = the layer's output and input widths."""

    name = "ft"

    def __init__(self, routing: RoutedLayer, config: FTConfig) -> None:
        self._routing, self.config = routing, config

    def binding(self) -> dict[str, str]:
        """Nothing: every edit keeps the settings it was made with."""
        return {}

    def settings(self) -> Settings:
        """``adam`` (3,) float64: steps, step size, ε."""
        lr = self.config.lr if self.config.lr is not None else self._routing.loaded.edit_lr
        adam = (self.config.steps, lr, self.config.eps)
        return {"adam": torch.tensor(adam, dtype=torch.float64)}

    def edited(
        self, request: EditRequest, start: torch.Tensor, settings: Settings
    ) -> tuple[torch.Tensor, int, float]:
        """The tuned weight (O, D) on the CPU, the steps, and the loss after the last."""
        steps, lr, eps = settings["adam"].tolist()
        trained = self._routing.finetune(
            request.image,
            request.question,
            request.target,
            Start({"weight": start.to(self._routing.layer.device)}, lr),
            Schedule(int(steps), eps),
        )
        return trained.tensors["weight"].cpu(), int(steps), trained.losses[-1]


def _make(loaded: LoadedModel, config: FTConfig) -> WeightSequence:
    """The method, bound to one model."""
    routing = RoutedLayer(loaded, last_key)
    return WeightSequence(routing, FT(routing, config))


METHOD = OfferedMethod(_make, PRESETS)
