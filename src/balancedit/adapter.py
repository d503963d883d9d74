"""The edited layer: its output replaced, row by row, by the transformation that fired.

Attaching hooks the layer and leaves the module tree alone: the very same `nn.Linear` stays in
place, so names in the state dict, adapters of other libraries and the model's own wrappers are
undisturbed, and detaching has nothing to put back. Rows that fire nothing keep the layer's own
output, bit for bit.

Letters: B = rows, T = tokens, D = the layer's input width, O = its output width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from balancedit.errors import RoutingError
from balancedit.routing import Router


class EditedLayer:
    """Transformations beside one linear layer, applied by the router's decision.

    A transformation is a full (O, D) weight in float32: the layer's own weight, fine-tuned on one
    fact (paper, Section 3.2). The layer's bias, where it has one, stays as it is.
    """

    def __init__(self, layer: nn.Module, router: Router) -> None:
        self.layer = layer
        self._router = router
        self._weights: dict[str, torch.Tensor] = {}
        self._trained: torch.Tensor | None = None
        self._handle: RemovableHandle | None = None

    @property
    def base_weight(self) -> torch.Tensor:
        """(O, D) the untouched layer's weight, as float32 copy."""
        weight: torch.Tensor = self.layer.weight  # type: ignore[assignment]
        return weight.detach().to(torch.float32, copy=True)

    def weight(self, edit_id: str) -> torch.Tensor:
        """(O, D) float32 transformation of a held edit."""
        return self._weights[edit_id]

    def add(self, edit_id: str, weight: torch.Tensor) -> None:
        """Hold a transformation; weight: (O, D)."""
        own: torch.Tensor = self.layer.weight  # type: ignore[assignment]
        if weight.shape != own.shape:
            raise ValueError(f"transformation is {tuple(weight.shape)}, layer {tuple(own.shape)}")
        self._weights[edit_id] = weight.to(own.device, torch.float32)

    def remove(self, edit_id: str) -> None:
        """Drop a transformation; the others do not change."""
        del self._weights[edit_id]

    def attach(self) -> None:
        """Start replacing the layer's output where an edit fires."""
        self._handle = self.layer.register_forward_hook(self._output)

    def detach(self) -> None:
        """Stop; the layer is as it was."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    @contextmanager
    def training(self, weight: torch.Tensor) -> Iterator[None]:
        """Inside the context every row goes through `weight` (O, D), with gradients."""
        handle = None if self._handle else self.layer.register_forward_hook(self._output)
        self._trained = weight
        try:
            yield
        finally:
            self._trained = None
            if handle is not None:
                handle.remove()

    def _output(self, layer: nn.Module, args: tuple[Any, ...], y: torch.Tensor) -> torch.Tensor:
        """Forward hook. args[0]: (B, T, D) or (B·T, D) input, y: the layer's own output."""
        x: torch.Tensor = args[0]
        if self._trained is not None:
            return self._apply(x, self._trained).to(y.dtype)
        route = self._router.current()
        if route is None or not route.groups:
            return y
        rows = len(route.rows)
        if x.shape[0] % rows or (x.dim() == 3 and x.shape[0] != rows):
            raise RoutingError(
                f"the edited layer got {tuple(x.shape)} for {rows} routed prompts; "
                "rows were added or dropped after the prompt"
            )
        xs = x.reshape(rows, -1, x.shape[-1])
        ys = y.clone().reshape(rows, -1, y.shape[-1])
        for edit_id, owned in route.groups.items():
            at = torch.tensor(owned, device=y.device)
            ys[at] = self._apply(xs[at], self._weights[edit_id]).to(y.dtype)
        return ys.reshape(y.shape)

    def _apply(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., O) in float32, whatever the model's type."""
        bias: torch.Tensor | None = self.layer.bias  # type: ignore[assignment]
        if x.device != weight.device:
            weight = weight.to(x.device)
        return F.linear(x.float(), weight, None if bias is None else bias.float())
