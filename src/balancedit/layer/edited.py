"""The edited layer: its output replaced, row by row, by what the edit that fired puts there.

Attaching hooks the layer and leaves the module tree alone: the very same `nn.Linear` stays in
place, so names in the state dict, adapters of other libraries and the model's own wrappers are
undisturbed, and detaching has nothing to put back. Rows that fire nothing keep the layer's own
output, bit for bit.

Letters: B = rows, R = the rows of them that an edit owns, N = edits that own some, T = tokens,
D = the layer's input width, O = its output width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from balancedit.errors import DamagedEditError, RoutingError
from balancedit.layer.decisions import Route
from balancedit.layer.recent import RecentTensors, Tensors
from balancedit.layer.router import Router
from balancedit.layer.weights import float_bias, float_weight, running_device, weight_shape

LIMIT = 512 * 2**20  # bytes kept of tensors that are read when they are first wanted

#: x: (R, T, D) input and y: (R, T, O) output of the layer -> (R, T, O) the output instead.
Replacement = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Transformation(Protocol):
    """How a method makes the layer's output from an edit's tensors."""

    def check(self, layer: nn.Module, tensors: Tensors) -> None:
        """Raise `ValueError` for tensors that an edit of this layer cannot have."""

    def over(
        self, layer: nn.Module, held: Sequence[Tensors], owner: torch.Tensor, rows: torch.Tensor
    ) -> Replacement:
        """What replaces the output where edits fire; asked for once a prompt, and used again at
        every step of its decoding.

        held: tensors of the N edits that own rows, on the layer's device. owner: (R,) which of them
        owns each row. rows: (R,) where in the batch of B those rows are. Gradients go to the
        tensors.
        """


class FullWeight:
    """An edit's ``weight`` (O, D), float32: the layer's own weight, fine-tuned on one fact (paper,
    Section 3.2). The layer's bias, where it has one, stays as it is."""

    def check(self, layer: nn.Module, tensors: Tensors) -> None:
        """See `Transformation`."""
        check_shapes({"weight": weight_shape(layer)}, tensors)

    def over(
        self, layer: nn.Module, held: Sequence[Tensors], owner: torch.Tensor, rows: torch.Tensor
    ) -> Replacement:
        """See `Transformation`; in float32, whatever the model's type."""
        bias = float_bias(layer)
        if len(held) == 1:
            return lambda x, y: F.linear(x.float(), held[0]["weight"].float(), bias)
        owned = [(owner == i).nonzero()[:, 0] for i in range(len(held))]
        order = torch.cat(owned).argsort()

        def replace(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            made = [
                F.linear(x[at].float(), tensors["weight"].float(), bias)
                for at, tensors in zip(owned, held, strict=True)
            ]
            return torch.cat(made)[order]

        return replace


def check_shapes(wanted: Mapping[str, tuple[int, ...]], tensors: Tensors) -> None:
    """Raise `ValueError` unless an edit's tensors have these names and shapes."""
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    lacking, surplus = sorted(wanted.keys() - shapes), sorted(shapes.keys() - wanted)
    if lacking:
        raise ValueError(f"an edit's tensor '{lacking[0]}' is missing")
    if surplus:
        raise ValueError(f"an edit has a tensor '{surplus[0]}', which the layer does not take")
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise ValueError(f"an edit's '{name}' is {shapes[name]}, the layer takes {shape}")


class EditedLayer:
    """The edits' tensors beside one linear layer, applied by the router's decision.

    apply: what tensors do to the output; a full weight unless a method brings its own.
    """

    def __init__(
        self, layer: nn.Module, router: Router, apply: Transformation | None = None
    ) -> None:
        self.layer = layer
        self._router = router
        self._apply = apply or FullWeight()
        self._held: dict[str, Tensors] = {}
        self._late: dict[str, Callable[[], Tensors]] = {}
        self._recent = RecentTensors(LIMIT)
        self._training: tuple[Sequence[Tensors], torch.Tensor] | None = None
        self._routed: tuple[Route, torch.Tensor, Replacement] | None = None
        self._handle: RemovableHandle | None = None

    @property
    def base_weight(self) -> torch.Tensor:
        """(O, D) the untouched layer's weight, as float32 copy; dequantised where it is packed."""
        return float_weight(self.layer)

    @property
    def device(self) -> torch.device:
        """Where the layer runs, and the tensors beside it."""
        return running_device(self.layer)

    def tensors(self, edit_id: str) -> Tensors:
        """The tensors of a held edit, by name, in the types they were added with. Raises what
        reading them raises, where they were added with `add_late`."""
        if edit_id in self._held:
            return self._held[edit_id]
        return self._recent.get(edit_id, lambda: self._fitting(self._late[edit_id]()))

    def add(self, edit_id: str, tensors: Tensors) -> None:
        """Hold an edit's tensors. Raises `ValueError` when they do not fit the layer."""
        self._held[edit_id] = self._fitting(tensors)

    def add_late(self, edit_id: str, read: Callable[[], Tensors]) -> None:
        """Hold an edit whose tensors `read` gives, when they are wanted; up to `LIMIT` bytes of
        such tensors stay."""
        self._late[edit_id] = read

    def check(self, edit_id: str, tensors: Tensors) -> None:
        """Raise `DamagedEditError` where an edit's stored tensors do not fit the layer."""
        try:
            self._check(tensors)
        except ValueError as error:
            reason = f"{error}; revert the edit and make it again"
            raise DamagedEditError(edit_id, reason) from error

    def _fitting(self, tensors: Tensors) -> Tensors:
        self._check(tensors)
        return {name: t.to(self.device) for name, t in tensors.items()}

    def _check(self, tensors: Tensors) -> None:
        """Raise `ValueError` for tensors that an edit of this layer cannot have."""
        self._apply.check(self.layer, tensors)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"an edit's '{name}' holds {tensor.dtype}, no fractions")

    def remove(self, edit_id: str) -> None:
        """Drop an edit's tensors; the others do not change."""
        if self._held.pop(edit_id, None) is None:
            del self._late[edit_id]
            self._recent.forget(edit_id)

    def attach(self) -> None:
        """Start replacing the layer's output where an edit fires."""
        self._handle = self.layer.register_forward_hook(self._output)

    def detach(self) -> None:
        """Stop; the layer is as it was."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        self._routed = None

    @contextmanager
    def training(self, *held: Tensors) -> Iterator[None]:
        """Inside the context calls go through `held`, with gradients: each of them owns as many
        rows of the call as every other, in their order."""
        handle = None if self._handle else self.layer.register_forward_hook(self._output)
        self._training = (held, torch.arange(len(held), device=self.device))
        try:
            yield
        finally:
            self._training = None
            if handle is not None:
                handle.remove()

    def _output(self, layer: nn.Module, args: tuple[Any, ...], y: torch.Tensor) -> torch.Tensor:
        """Forward hook. args[0]: (B, T, D) or (B·T, D) input, y: the layer's own output."""
        if self._training is not None:
            x: torch.Tensor = args[0].to(y.device)  # accelerate moves inputs behind our hook
            held, owner = self._training
            n = len(held)
            replace = self._apply.over(layer, held, owner, owner)
            made = replace(x.reshape(n, -1, x.shape[-1]), y.reshape(n, -1, y.shape[-1]))
            return made.to(y.dtype).reshape(y.shape)
        route = self._router.current()
        if route is None or not route.groups:
            return y
        x = args[0].to(y.device)
        rows = len(route.rows)
        if x.shape[0] % rows or (x.dim() == 3 and x.shape[0] != rows):
            raise RoutingError(
                f"the edited layer got {tuple(x.shape)} for {rows} routed prompts; "
                "rows were added or dropped after the prompt"
            )
        at, replace = self._replacement(route, y.device)
        xs = x.reshape(rows, -1, x.shape[-1])
        ys = y.clone().reshape(rows, -1, y.shape[-1])
        ys[at] = replace(xs[at], ys[at]).to(y.dtype)
        return ys.reshape(y.shape)

    def _replacement(self, route: Route, device: torch.device) -> tuple[torch.Tensor, Replacement]:
        """The rows (R,) that edits own, and what replaces their output; made once a prompt."""
        if self._routed is None or self._routed[0] is not route:
            held = [self.tensors(edit_id) for edit_id in route.groups]
            owned = [(i, row) for i, rows in enumerate(route.groups.values()) for row in rows]
            owner, at = torch.tensor(owned, device=device).T
            self._routed = route, at, self._apply.over(self.layer, held, owner, at)
        return self._routed[1:]
