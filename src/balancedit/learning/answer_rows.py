"""Answers where they enter the last block: what one pass brought there, cut out row by row, and run
through the block again as one batch.

Letters: B = rows, N = rows with an answer, T = tokens, A = tokens of one row's answer with the end
token, D, O = the edited layer's input and output widths, E = width of the block's output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from balancedit.layer.calls import override


@dataclass(frozen=True)
class _Tokens:
    """Values that belong to the tokens of one row's answer, (A, …). flat: whether rows and tokens
    were one dimension."""

    values: torch.Tensor
    flat: bool


class Residual(NamedTuple):
    """A row's answer where it enters the last block. length: A; arguments: what the block is
    called with; outputs: what its parts gave that run before the one with the edited layer, in
    their order."""

    length: int
    arguments: Any
    outputs: Any


@dataclass
class Recorded:
    """What one pass brought to the edited layer, at the positions that predict the answers.

    x: (A, D) input and y: (A, O) output of the layer, of each of N rows. residuals: of the same
    rows; empty where the short way does not exist.
    """

    x: list[torch.Tensor] = field(default_factory=list)
    y: list[torch.Tensor] = field(default_factory=list)
    residuals: list[Residual] = field(default_factory=list)

    def extend(self, other: Recorded) -> None:
        """Put what a further pass brought behind it."""
        self.x += other.x
        self.y += other.y
        self.residuals += other.residuals


class AnswerBatch:
    """Answers of N rows where they enter the last block, filled up to the longest.

    before: the block's parts that run before the one with the edited layer.
    """

    def __init__(
        self, block: nn.Module, before: Sequence[nn.Module], residuals: Sequence[Residual]
    ) -> None:
        self._block, self._before = block, before
        self._lengths = [row.length for row in residuals]
        self._arguments = _joined([row.arguments for row in residuals])
        self._outputs = _joined([row.outputs for row in residuals])

    def outputs(self) -> list[torch.Tensor]:
        """The block's output (A, E) of each row, with whatever is in the edited layer's place now;
        the rows go through that as one batch of N."""
        waiting: dict[nn.Module, list[Any]] = {}
        for module, output in zip(self._before, self._outputs, strict=True):
            waiting.setdefault(module, []).append(output)
        args, kwargs = self._arguments
        with ExitStack() as undo:
            for module, outputs in waiting.items():
                undo.callback(override(module, "forward", _saying(outputs)))
            out = self._block(*args, **kwargs)
        rows = (out[0] if isinstance(out, tuple) else out).reshape(
            len(self._lengths), max(self._lengths), -1
        )
        return [row[:n] for row, n in zip(rows, self._lengths, strict=True)]


@dataclass
class SeenPass:
    """Hooks, and what they saw in one pass: the layer's input and output, what the block was called
    with, and what its parts gave before the one with the layer was done."""

    x: Any = None
    y: Any = None
    arguments: Any = None
    outputs: list[tuple[nn.Module, Any]] = field(default_factory=list)

    def at_layer(self, module: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> None:
        self.x, self.y = args[0], out

    def at_block(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.arguments = (args, kwargs)

    def at_child(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if self.x is None:
            self.outputs.append((module, out))


class CutAnswer(NamedTuple):
    """Takes the answer of one row out of values that belong to all tokens of all rows; the answers
    stand at the end, filled up to `width`."""

    rows: int
    row: int
    width: int
    length: int

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """(B, T, …), (1, T, …) for all rows alike, or (B·T, …) as OPT has it -> (A, …), a copy:
        some models write into what they passed on."""
        rows = self._rows(values)
        tokens = rows[self.row if len(rows) > 1 else 0]
        first = len(tokens) - self.width - 1
        return tokens[first : first + self.length].detach().clone()

    def all(self, values: Any) -> Any:
        """The same in a structure; what does not belong to tokens is left as it is."""
        tokens = next(leaf for leaf in tree_flatten(values)[0] if isinstance(leaf, torch.Tensor))
        length = tokens.shape[1] if tokens.dim() > 2 else len(tokens) // self.rows

        def cut(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor) and leaf.dim() > 1:
                if len(leaf) in (self.rows, 1) and leaf.shape[1] == length:
                    return _Tokens(self(leaf), flat=False)
                if leaf.dim() == 2 and len(leaf) == self.rows * length:
                    return _Tokens(self(leaf), flat=True)
            return leaf

        return tree_map(cut, values)

    def _rows(self, values: torch.Tensor) -> torch.Tensor:
        if values.dim() == 2 and len(values) > self.rows:
            return values.reshape(self.rows, -1, values.shape[-1])
        return values


def _joined(rows: Sequence[Any]) -> Any:
    """Structures of N rows as one: what belongs to tokens filled up to (N, longest A, …), the rest
    as it is in the first."""
    columns = zip(*(tree_flatten(row)[0] for row in rows), strict=True)
    leaves = [
        _filled_up(column) if isinstance(column[0], _Tokens) else column[0] for column in columns
    ]
    return tree_unflatten(leaves, tree_flatten(rows[0])[1])


def _filled_up(rows: Sequence[_Tokens]) -> torch.Tensor:
    together = pad_sequence([row.values for row in rows], batch_first=True)
    return together.flatten(0, 1) if rows[0].flat else together


def _saying(outputs: Sequence[Any]) -> Callable[..., Any]:
    """A forward method that gives these outputs, one a call."""
    waiting = iter(outputs)
    return lambda *_args, **_kwargs: next(waiting)
