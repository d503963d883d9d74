"""MEND: a trained network turns the gradient of one edit's loss into an update of one layer's
weight. A baseline without a scope.

One forward and backward pass gives the layer's input and the gradient at its output, token by
token; the network (`mend_network.py`) makes the update of them, which is added to the weight that
the edit before it left. From then on every prompt goes through the new weight. How the sequence is
kept and undone: `sequence.py`.

Source: Mitchell et al., *Fast Model Editing at Scale* (2022). The network is trained beforehand,
on edits of the same kind (`balancedit bench train-mend`), and stays as it is while edits come in;
the BalancEdit paper goes on training it (Appendix E).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from balancedit.codebook.pooling import last_key
from balancedit.errors import EditFailedError, ModelLoadError
from balancedit.files.names import is_file
from balancedit.learning.loop import answer_loss, frozen, with_answer
from balancedit.methods.mend_network import MendNetwork, how_to_train, load_network
from balancedit.methods.presets import alike
from balancedit.methods.protocol import EditRequest, OfferedMethod
from balancedit.methods.routed import RoutedLayer
from balancedit.methods.sequence import Settings, WeightSequence
from balancedit.models.loading import LoadedModel


@dataclass(frozen=True)
class MendConfig:
    """Which network makes the updates; everything else was settled when it was trained."""

    network: str | os.PathLike[str] | None = None  # its file; None: the one bundled with the model

    def __post_init__(self) -> None:
        if self.network is not None and not is_file(Path(self.network)):
            raise ModelLoadError(f"there is no MEND network '{self.network}'; {how_to_train()}")


#: Named settings, all the same, since there is nothing to set at the time of an edit.
PRESETS: dict[str, MendConfig] = {"recommended": MendConfig(), **alike(MendConfig())}


class Gradients(NamedTuple):
    """What one edit's loss says about one layer, of the tokens where it says anything. u: (T, D)
    the layer's input, delta: (T, O) the gradient at its output, both float32; loss: nats per answer
    token."""

    u: torch.Tensor
    delta: torch.Tensor
    loss: float


def gradients(
    model: nn.Module, layer: nn.Module, inputs: Mapping[str, Any], answer: Sequence[int]
) -> Gradients:
    """One forward and backward pass of an edit's loss.

    inputs: one prompt's processor output; answer: the target's token ids with the end token. Raises
    `EditFailedError` when the loss is not a number.
    """
    seen: dict[str, torch.Tensor] = {}

    def watch(module: nn.Module, args: tuple[Any, ...], y: torch.Tensor) -> torch.Tensor:
        seen["u"], seen["y"] = args[0].detach(), y.detach().requires_grad_(True)
        return seen["y"]

    with frozen(model), torch.enable_grad():
        handle = layer.register_forward_hook(watch)
        try:
            loss = answer_loss(model, with_answer(model, inputs, answer), answer)
        finally:
            handle.remove()
        (delta,) = torch.autograd.grad(loss, seen["y"])
    if not math.isfinite(loss.item()):
        raise EditFailedError(f"the loss of the answer is {loss.item()}; it gives no gradient")
    u = seen["u"].reshape(-1, seen["u"].shape[-1]).float()
    delta = delta.reshape(len(u), -1).float()
    kept = (u != 0).any(1) & (delta != 0).any(1)
    return Gradients(u[kept], delta[kept], loss.item())


class Mend:
    """How a weight is updated. Letters: O, D = the layer's output and input widths."""

    name = "mend"

    def __init__(self, routing: RoutedLayer, config: MendConfig) -> None:
        self._routing, self.config = routing, config
        self._network, self._digest = _network_for(
            routing.loaded, config, routing.layer.base_weight
        )

    def binding(self) -> dict[str, str]:
        """The network: another one would make other updates."""
        return {"network": self._digest[:16]}

    def settings(self) -> Settings:
        """None: the network decides everything, and the store is bound to it."""
        return {}

    def edited(
        self, request: EditRequest, start: torch.Tensor, settings: Settings
    ) -> tuple[torch.Tensor, int, float]:
        """The updated weight (O, D) on the CPU, one step, and the loss after it."""
        loaded, layer = self._routing.loaded, self._routing.layer
        prompter, model = loaded.prompter, loaded.model
        answer = prompter.answer_ids(request.target, loaded.eos)
        inputs = loaded.to_device(prompter.inputs([request.image], [request.question]))
        weight = start.to(layer.device)
        with self._routing.bypass():
            with layer.training({"weight": weight}):
                own = gradients(model, layer.layer, inputs, answer)
            with torch.no_grad():
                weight = weight + self._network(own.u, own.delta)
                with layer.training({"weight": weight}):
                    loss = answer_loss(model, with_answer(model, inputs, answer), answer).item()
        if not math.isfinite(loss):
            raise EditFailedError(f"the loss became {loss} with the update; the network diverged")
        return weight.cpu(), 1, loss


def _make(loaded: LoadedModel, config: MendConfig) -> WeightSequence:
    """The method, bound to one model."""
    routing = RoutedLayer(loaded, last_key)
    return WeightSequence(routing, Mend(routing, config))


def _network_for(
    loaded: LoadedModel, config: MendConfig, weight: torch.Tensor
) -> tuple[MendNetwork, str]:
    """The network for a layer's weight (O, D), on the model's device, and its file's SHA-256.
    Raises `ModelLoadError` where there is none, or it was trained for another model or layer."""
    chosen = config.network if config.network is not None else loaded.mend_network
    train = how_to_train(loaded.name, loaded.layer)
    if chosen is None or not is_file(Path(chosen)):
        raise ModelLoadError(
            f"no MEND network comes with '{loaded.name}' at {loaded.layer}; {train} and pass it as "
            "network="
        )
    network, trained_for, sha256 = load_network(Path(chosen))
    if trained_for.layer != loaded.layer:
        raise ModelLoadError(
            f"the MEND network '{chosen}' was trained for {trained_for.layer}, not for "
            f"{loaded.layer}; {train}"
        )
    network = network.to(loaded.device).requires_grad_(False)
    if not network.belongs_to(weight):
        raise ModelLoadError(
            f"the MEND network '{chosen}' was trained for another weight at that layer, that of "
            f"{trained_for.model} then, not {loaded.name}'s; {train}"
        )
    return network, sha256


METHOD = OfferedMethod(_make, PRESETS)
