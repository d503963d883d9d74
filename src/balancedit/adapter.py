"""The edited layer: its output replaced, row by row, by what the edit that fired puts there.

Attaching hooks the layer and leaves the module tree alone: the very same `nn.Linear` stays in
place, so names in the state dict, adapters of other libraries and the model's own wrappers are
undisturbed, and detaching has nothing to put back. Rows that fire nothing keep the layer's own
output, bit for bit.

Letters: B = rows, R = the rows of them that one edit owns, T = tokens, D = the layer's input width,
O = its output width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from balancedit.errors import RoutingError
from balancedit.models.weights import float_bias, float_weight, running_device, weight_shape
from balancedit.routing import Router


class Transformation(Protocol):
    """How a method makes the layer's output from an edit's tensor."""

    def shape(self, layer: nn.Module) -> tuple[int, ...]:
        """The shape such a tensor must have."""

    def __call__(
        self,
        layer: nn.Module,
        tensor: torch.Tensor,
        x: torch.Tensor,
        y: torch.Tensor,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        """x: (R, T, D) input and y: (R, T, O) output of the layer, rows: (R,) which rows of the
        batch these are -> (R, T, O) the output instead, with gradients to `tensor`."""


class FullWeight:
    """The edit's tensor is a full (O, D) weight in float32: the layer's own weight, fine-tuned on
    one fact (paper, Section 3.2). The layer's bias, where it has one, stays as it is."""

    def shape(self, layer: nn.Module) -> tuple[int, ...]:
        """(O, D)."""
        return weight_shape(layer)

    def __call__(
        self,
        layer: nn.Module,
        tensor: torch.Tensor,
        x: torch.Tensor,
        y: torch.Tensor,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        """See `Transformation`; in float32, whatever the model's type."""
        return F.linear(x.float(), tensor, float_bias(layer))


class EditedLayer:
    """The edits' tensors beside one linear layer, applied by the router's decision.

    apply: what a tensor does to the output; a full weight unless a method brings its own.
    """

    def __init__(
        self, layer: nn.Module, router: Router, apply: Transformation | None = None
    ) -> None:
        self.layer = layer
        self._router = router
        self._apply = apply or FullWeight()
        self._tensors: dict[str, torch.Tensor] = {}
        self._trained: torch.Tensor | None = None
        self._handle: RemovableHandle | None = None

    @property
    def base_weight(self) -> torch.Tensor:
        """(O, D) the untouched layer's weight, as float32 copy; dequantised where it is packed."""
        return float_weight(self.layer)

    @property
    def device(self) -> torch.device:
        """Where the layer runs, and the tensors beside it."""
        return running_device(self.layer)

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of an edit's tensor."""
        return self._apply.shape(self.layer)

    def tensor(self, edit_id: str) -> torch.Tensor:
        """The float32 tensor of a held edit."""
        return self._tensors[edit_id]

    def add(self, edit_id: str, tensor: torch.Tensor) -> None:
        """Hold an edit's tensor. Raises `ValueError` when it does not fit the layer."""
        shape, wanted = tuple(tensor.shape), self.tensor_shape
        if shape != wanted:
            raise ValueError(f"an edit's tensor is {shape}, the layer takes {wanted}")
        self._tensors[edit_id] = tensor.to(self.device, torch.float32)

    def remove(self, edit_id: str) -> None:
        """Drop an edit's tensor; the others do not change."""
        del self._tensors[edit_id]

    def attach(self) -> None:
        """Start replacing the layer's output where an edit fires."""
        self._handle = self.layer.register_forward_hook(self._output)

    def detach(self) -> None:
        """Stop; the layer is as it was."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    @contextmanager
    def training(self, tensor: torch.Tensor) -> Iterator[None]:
        """Inside the context, calls of one row, which goes through `tensor`, with gradients."""
        handle = None if self._handle else self.layer.register_forward_hook(self._output)
        self._trained = tensor
        try:
            yield
        finally:
            self._trained = None
            if handle is not None:
                handle.remove()

    def _output(self, layer: nn.Module, args: tuple[Any, ...], y: torch.Tensor) -> torch.Tensor:
        """Forward hook. args[0]: (B, T, D) or (B·T, D) input, y: the layer's own output."""
        x: torch.Tensor = args[0].to(y.device)  # accelerate moves inputs behind our hook
        if self._trained is not None:
            xs, ys = x.reshape(1, -1, x.shape[-1]), y.reshape(1, -1, y.shape[-1])
            at = torch.zeros(1, dtype=torch.long, device=y.device)
            made = self._apply(layer, self._trained.to(y.device), xs, ys, at)
            return made.to(y.dtype).reshape(y.shape)
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
            tensor = self._tensors[edit_id].to(y.device)
            ys[at] = self._apply(layer, tensor, xs[at], ys[at], at).to(y.dtype)
        return ys.reshape(y.shape)
