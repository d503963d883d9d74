"""Encoding each picture once.

The same picture comes again and again: with several questions, before and after an edit, as the
black picture of every negative sample. `EncodedPictures` stands in front of a model's vision
encoders and keeps what they gave for the pictures seen last, and in a batch runs them on the
pictures that are new.

Letters: P = pictures in a call, C, H, W = channels and size of one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from balancedit.layer.calls import named_arguments, override, takes_pictures

LIMIT = 256 * 2**20  # bytes of encoded pictures kept a model

_Key = tuple[Any, ...]


class EncodedPictures:
    """What the vision encoders of one model gave for the pictures seen last.

    encoders: modules that take ``pixel_values``. One is left alone where a row of its output is not
    a picture's own (pictures packed into one row, or described by further tensors), where it would
    need gradients, and where it is called with anything but plain settings. limit: bytes kept.
    """

    def __init__(self, encoders: list[nn.Module], limit: int = LIMIT) -> None:
        self._encoders = encoders
        self._limit = limit
        self._kept: OrderedDict[_Key, Any] = OrderedDict()
        self._bytes = 0
        self._depth = 0
        self._packed: set[nn.Module] = set()

    @contextmanager
    def reused(self) -> Iterator[None]:
        """Inside the context pictures seen before are not encoded again."""
        with ExitStack() as undo:
            if not self._depth:
                for encoder in self._encoders:
                    undo.callback(override(encoder, "forward", self._instead_of(encoder)))
            self._depth += 1
            undo.callback(self._close)
            yield

    def forget(self) -> None:
        """Drop all that is kept."""
        self._kept.clear()
        self._bytes = 0

    def _close(self) -> None:
        self._depth -= 1

    def _instead_of(self, encoder: nn.Module) -> Callable[..., Any]:
        forward = encoder.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            named = named_arguments(encoder, args, kwargs)
            pictures = named.pop("pixel_values", None)
            plain = all(isinstance(value, (bool, int, float, str)) for value in named.values())
            if (
                not plain
                or not isinstance(pictures, torch.Tensor)
                or pictures.dim() != 4
                or encoder in self._packed
                or encoder.training
                or _needs_gradients(encoder, pictures)
            ):
                return forward(*args, **kwargs)
            about = (id(encoder), tuple(sorted(named.items())), *_state(encoder, pictures))
            return self._encoded(encoder, forward, pictures, named, about)

        return run

    def _encoded(
        self,
        encoder: nn.Module,
        forward: Callable[..., Any],
        pictures: torch.Tensor,
        named: dict[str, Any],
        about: _Key,
    ) -> Any:
        """The encoder's output for (P, C, H, W) pictures, run on those that are new."""
        keys = [(*about, name) for name in _names(pictures)]
        rows = {key: self._kept[key] for key in keys if key in self._kept}
        new = {key: i for i, key in enumerate(keys) if key not in rows}
        if new:
            output = forward(pixel_values=pictures[list(new.values())], **named)
            if any(_length(leaf) not in (None, len(new)) for leaf in tree_leaves(output)):
                self._packed.add(encoder)
                return forward(pixel_values=pictures, **named)
            for at, key in enumerate(new):
                rows[key] = _row(output, at)
        for key in dict.fromkeys(keys):
            self._keep(key, rows[key])
        return _stacked([rows[key] for key in keys])

    def _keep(self, key: _Key, row: Any) -> None:
        """Remember a row as the one seen last; forget those seen longest ago beyond the limit."""
        if key not in self._kept:
            self._bytes += _size(row)
        self._kept[key] = row
        self._kept.move_to_end(key)
        while self._bytes > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)


def picture_encoders(model: nn.Module, path: str) -> list[nn.Module]:
    """The modules of a model that take ``pixel_values``, off the dotted path to the edited layer
    and outermost only."""
    names = path.split(".")
    on_path = {".".join(names[:i]) for i in range(len(names) + 1)}
    encoders: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in encoders)
        if name not in on_path and not inside and takes_pictures(module):
            encoders[name] = module
    return list(encoders.values())


def _needs_gradients(encoder: nn.Module, pictures: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and (
        pictures.requires_grad or any(p.requires_grad for p in encoder.parameters())
    )


def _state(encoder: nn.Module, pictures: torch.Tensor) -> tuple[Any, ...]:
    """What else an encoding depends on: the weights as they are now, and the pictures' type."""
    weights = hash(tuple((p.data_ptr(), p._version) for p in encoder.parameters()))
    return weights, pictures.dtype, pictures.device


def _names(pictures: torch.Tensor) -> list[bytes]:
    """A digest of each picture's values: (P, C, H, W) -> P."""
    raw = pictures.detach().contiguous().view(torch.uint8).flatten(1).cpu().numpy()
    return [hashlib.sha1(row.tobytes(), usedforsecurity=False).digest() for row in raw]


def _length(leaf: Any) -> int | None:
    return (len(leaf) if leaf.dim() else 0) if isinstance(leaf, torch.Tensor) else None


def _row(output: Any, at: int) -> Any:
    return tree_map(lambda x: x[at].clone() if isinstance(x, torch.Tensor) else x, output)


def _size(row: Any) -> int:
    return sum(x.nbytes for x in tree_leaves(row) if isinstance(x, torch.Tensor))


def _stacked(rows: list[Any]) -> Any:
    """Rows of one structure -> the same with a leading dimension for the rows."""
    flat = [tree_flatten(row) for row in rows]
    leaves = [
        torch.stack(column) if isinstance(column[0], torch.Tensor) else column[0]
        for column in map(list, zip(*(values for values, _ in flat), strict=True))
    ]
    return tree_unflatten(leaves, flat[0][1])
