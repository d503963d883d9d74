"""Rows that are asked again and again under other weights of one layer.

Where the layer belongs to the last block's MLP, nothing after it looks at another token: a row is
run through the model once, and from then on only its few scored tokens go through the MLP, the
final norm and the output head. That is exact, and checked against the whole model before it is
used; elsewhere the whole model runs every time.

Letters: N = rows, T = tokens, A = tokens of one row's answer, E = width of the block's output,
D = width of the MLP's input, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image
from torch import nn

from balancedit.adapter import EditedLayer
from balancedit.models.layers import enclosing_stack
from balancedit.models.loading import LoadedModel
from balancedit.pairing import batches
from balancedit.training import answer_logits, last_logits, with_answers

_BATCH = 32  # rows in one pass of the whole model
_SAME = 0.02  # share of a change in the logits by which the short way may miss it


class _OtherTokensSeen(Exception):
    """The part of the block that holds the edited layer is not a function of one token."""


class Scored(NamedTuple):
    """A prompt and the token ids, with the end token, that are scored as its answer."""

    image: Image.Image | None
    question: str
    answer: Sequence[int]


class Group(NamedTuple):
    """Encoded rows that are asked under one weight (O, D) of the edited layer; None: its own."""

    rows: Sequence[Any]
    weight: torch.Tensor | None


class Replay(Protocol):
    """A way of asking rows under a weight of the edited layer."""

    def encode(self, rows: Sequence[Scored]) -> list[Any]:
        """What `logits` needs of each row."""

    def logits(self, groups: Sequence[Group]) -> list[torch.Tensor]:
        """(A, V) float32 of each row of all groups, in their order, at the positions that predict
        its answer, with gradients to the groups' weights."""


def replay_for(loaded: LoadedModel, layer: EditedLayer, rows: Sequence[Scored]) -> Replay:
    """The short way where it gives what the whole model gives for `rows`, else the whole model."""
    whole = WholeModel(loaded, layer)
    block = _last_block(loaded)
    if block is None:
        return whole
    own = layer.base_weight
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0)).to(own.device)
    other = own + own.std() * noise
    short = FromLastBlock(loaded, layer, block, rows[0])
    with torch.no_grad():
        try:
            found = torch.cat(short.logits([Group(short.encode(rows), other)]))
        except _OtherTokensSeen:
            return whole
        before, expected = (torch.cat(whole.logits([Group(rows, w)])) for w in (None, other))
    if found.shape != expected.shape:
        return whole
    missed = (found - expected).norm() / (expected - before).norm()
    return short if missed < _SAME else whole


class WholeModel:
    """Every row through all of the model."""

    def __init__(self, loaded: LoadedModel, layer: EditedLayer) -> None:
        self._loaded, self._layer = loaded, layer

    def encode(self, rows: Sequence[Scored]) -> list[Scored]:
        """The rows themselves."""
        return list(rows)

    def logits(self, groups: Sequence[Group]) -> list[torch.Tensor]:
        """See `Replay`."""
        made = []
        for rows, weight in groups:
            for row in rows:
                inputs = _inputs(self._loaded, [row])
                with _under(self._layer, weight):
                    made += answer_logits(self._loaded.model, inputs, [row.answer])
        return made


class Residual(NamedTuple):
    """A row's scored tokens in the last block. inside: (A, D) input of the part that holds the
    edited layer; beside: (A, E) the block's output without that part's own."""

    inside: torch.Tensor
    beside: torch.Tensor


class FromLastBlock:
    """Rows from the last block's MLP on.

    block: the last block, which holds the edited layer. row: any, to see what runs after the block.
    """

    def __init__(
        self, loaded: LoadedModel, layer: EditedLayer, block: nn.Module, row: Scored
    ) -> None:
        self._loaded, self._layer, self._block = loaded, layer, block
        self._part = next(
            child for child in block.children() if any(m is layer.layer for m in child.modules())
        )
        self._after = self._runs_after(row)

    @torch.no_grad()
    def encode(self, rows: Sequence[Scored]) -> list[Residual]:
        """One pass of the whole model for each batch of rows."""
        made: dict[int, Residual] = {}
        for batch in batches([row.image for row in rows], _BATCH):
            found = self._encode_batch([rows[i] for i in batch])
            made.update(zip(batch, found, strict=True))
        return [made[i] for i in range(len(rows))]

    def logits(self, groups: Sequence[Group]) -> list[torch.Tensor]:
        """See `Replay`. The output head, by far the largest part, runs once for all groups."""
        outputs = []
        for rows, weight in groups:
            with _under(self._layer, weight):
                outputs.append(self._part(torch.cat([row.inside for row in rows])[None]))
        every = [row for group in groups for row in group.rows]
        h = torch.cat([row.beside for row in every])[None] + torch.cat(outputs, dim=1)
        for module in self._after:
            h = module(h)
        return list(h[0].float().split([len(row.inside) for row in every]))

    def _encode_batch(self, rows: Sequence[Scored]) -> list[Residual]:
        seen: dict[str, torch.Tensor] = {}

        def at_part(module: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> None:
            if len(args) != 1 or not isinstance(out, torch.Tensor):
                raise _OtherTokensSeen
            seen["inside"], seen["out"] = args[0], out

        def at_block(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            seen["block"] = out[0] if isinstance(out, tuple) else out

        handles = [
            self._part.register_forward_hook(at_part),
            self._block.register_forward_hook(at_block),
        ]
        try:
            _run(self._loaded, rows)
        finally:
            for handle in handles:
                handle.remove()
        inside, out, block = (  # OPT flattens (N, T, D) to (N·T, D)
            seen[name].reshape(len(rows), -1, seen[name].shape[-1])
            for name in ("inside", "out", "block")
        )
        first = inside.shape[1] - max(len(row.answer) for row in rows) - 1
        return [
            Residual(inside[i, at].clone(), (block - out)[i, at])
            for i, row in enumerate(rows)
            for at in [slice(first, first + len(row.answer))]
        ]

    @torch.no_grad()
    def _runs_after(self, row: Scored) -> list[nn.Module]:
        """The modules that run when the last block is done, in their order."""
        ran: list[nn.Module] = []
        leaves = [m for m in self._loaded.model.modules() if not list(m.children())]
        handles = [m.register_forward_hook(lambda m, _args, _out: ran.append(m)) for m in leaves]
        handles.append(self._block.register_forward_hook(lambda *_: ran.clear()))
        try:
            _run(self._loaded, [row])
        finally:
            for handle in handles:
                handle.remove()
        return ran


def _last_block(loaded: LoadedModel) -> nn.Module | None:
    """The module of the longest way down to the edited layer that ends a numbered stack; None where
    the layer is in no last block."""
    stack, at = enclosing_stack(loaded.model, loaded.layer)
    if not stack or at != len(stack) - 1:
        return None
    return stack[at] if stack[at] is not loaded.model.get_submodule(loaded.layer) else None


def _under(layer: EditedLayer, weight: torch.Tensor | None) -> AbstractContextManager[None]:
    """Inside the context the layer has this weight."""
    return nullcontext() if weight is None else layer.training({"weight": weight})


def _inputs(loaded: LoadedModel, rows: Sequence[Scored]) -> dict[str, torch.Tensor]:
    """Prompts and answers together, on the model's device."""
    prompts = loaded.prompter.inputs([r.image for r in rows], [r.question for r in rows])
    return with_answers(loaded.model, loaded.to_device(prompts), [r.answer for r in rows])


def _run(loaded: LoadedModel, rows: Sequence[Scored]) -> None:
    last = last_logits(loaded.model, 1)
    loaded.model(**_inputs(loaded, rows), **last, use_cache=False)
