"""The short way through a model for the tokens of an answer.

Where the edited layer belongs to the last block's MLP, nothing from there on looks at another
token. So a prompt and its answer run through the model once, and from then on the few tokens that
predict the answer go through that block, the final norm and the output head alone, under whatever
is put in the layer's place; what runs in the block before its MLP (attention above all) says again
what it said. That is exact; it is checked against the whole model before it is used.

This knows no architecture: the block's own code is called, and what runs in it before the MLP and
after it in the model is found by watching a pass.

Letters: B = rows, N = rows with an answer, T = tokens, A = tokens of one row's answer with the end
token, D, O = the edited layer's input and output widths, E = width of the block's output, V =
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from balancedit.errors import EditFailedError
from balancedit.layer.calls import override
from balancedit.layer.compiled import is_compiled
from balancedit.layer.edited import EditedLayer, Tensors
from balancedit.layer.paths import enclosing_stack
from balancedit.learning.loop import (
    Schedule,
    Start,
    Trained,
    answer_logits,
    descend,
    last_logits,
)

_SAME = 0.02  # share of a change in the logits by which the short way may miss it


@dataclass(frozen=True)
class _Tokens:
    """Values that belong to the tokens of one row's answer, (A, …). flat: whether rows and tokens
    were one dimension."""

    values: torch.Tensor
    flat: bool


class Residual(NamedTuple):
    """A row's answer where it enters the last block. length: A; given: what the block is called
    with; made: what its parts gave that run before the one with the edited layer, in their order.
    """

    length: int
    given: Any
    made: Any


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


class AnswerPath:
    """The short way to the logits of answers in one model.

    path: dotted path of the edited layer.
    """

    def __init__(self, model: nn.Module, path: str) -> None:
        self._model = model
        self._layer = model.get_submodule(path)
        stack, at = enclosing_stack(model, path)
        last = bool(stack) and at == len(stack) - 1 and stack[at] is not self._layer
        self._block = stack[at] if last else None
        self._before: list[nn.Module] = []
        self._after: list[nn.Module] = []
        self._fits: bool | None = None

    @torch.no_grad()
    def fits(self, inputs: Mapping[str, torch.Tensor], answers: Sequence[Sequence[int]]) -> bool:
        """Whether the short way gives what the whole model gives; found out once, with these rows.

        inputs: prompts and answers together, as `training.with_answers` makes them, every answer
        with a token. False where the layer is in no last block, or other tokens are looked at after
        it; and for compiled models, whose modules cannot be stood in for.
        """
        if self._fits is None:
            self._fits = self._block is not None and self._agrees(inputs, answers)
        return self._fits

    def _agrees(self, inputs: Mapping[str, torch.Tensor], answers: Sequence[Sequence[int]]) -> bool:
        if any(is_compiled(module) for module in self._model.modules()):
            return False
        self._after = self._runs_after(inputs)
        before = torch.cat(answer_logits(self._model, inputs, answers))
        with self.recorded(answers) as found:
            self._model(**inputs, **last_logits(self._model, 1), use_cache=False)
        with _stirred(self._layer, found):
            expected = torch.cat(answer_logits(self._model, inputs, answers))
            try:
                short = torch.cat(self.head([self.batch(found.residuals).outputs()]))
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
                return False
        if short.shape != expected.shape:
            return False
        missed = (short - expected).norm() / (expected - before).norm()
        return bool(missed < _SAME)

    @contextmanager
    def recorded(
        self, answers: Sequence[Sequence[int]], width: int | None = None
    ) -> Iterator[Recorded]:
        """Around one pass of the model over B prompts with their answers behind them, as
        `training.with_answers` makes them; rows with an empty answer leave nothing. width: tokens
        put behind every prompt, where that is more than the longest of these answers has."""
        seen = _Seen()
        found = Recorded()
        with ExitStack() as undo:
            undo.callback(self._layer.register_forward_hook(seen.at_layer).remove)
            if self._block is not None and self._fits is not False:
                undo.callback(
                    self._block.register_forward_pre_hook(seen.at_block, with_kwargs=True).remove
                )
                for child in self._block.children():
                    undo.callback(child.register_forward_hook(seen.at_child).remove)
            yield found
        self._before = [module for module, _ in seen.made]
        width = max(map(len, answers)) if width is None else width
        for i, answer in enumerate(answers):
            if answer:
                cut = _Cut(len(answers), i, width, len(answer))
                found.x.append(cut(seen.x))
                found.y.append(cut(seen.y))
                if seen.given is not None:
                    made = [output for _, output in seen.made]
                    found.residuals.append(
                        Residual(len(answer), cut.all(seen.given), cut.all(made))
                    )

    def batch(self, residuals: Sequence[Residual]) -> AnswerBatch:
        """N rows, to be run through the block together."""
        assert self._block is not None
        return AnswerBatch(self._block, self._before, residuals)

    def head(self, outputs: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
        """Outputs of the block, batches of (A, E) -> the logits (A, V) float32 of every row; the
        output head, by far the largest part, runs once for all."""
        rows = [row for batch in outputs for row in batch]
        h = torch.cat(rows)[None]
        for module in self._after:
            h = module(h)
        return list(h[0].float().split([len(row) for row in rows]))

    def _runs_after(self, inputs: Mapping[str, torch.Tensor]) -> list[nn.Module]:
        """The modules that run when the last block is done, in their order."""
        assert self._block is not None
        ran: list[nn.Module] = []
        leaves = [m for m in self._model.modules() if not list(m.children())]
        with ExitStack() as undo:
            for leaf in leaves:
                hook = leaf.register_forward_hook(lambda m, _args, _out: ran.append(m))
                undo.callback(hook.remove)
            undo.callback(self._block.register_forward_hook(lambda *_: ran.clear()).remove)
            self._model(**inputs, **last_logits(self._model, 1), use_cache=False)
        return ran


class AnswerBatch:
    """Answers of N rows where they enter the last block, filled up to the longest.

    before: the block's parts that run before the one with the edited layer.
    """

    def __init__(
        self, block: nn.Module, before: Sequence[nn.Module], residuals: Sequence[Residual]
    ) -> None:
        self._block, self._before = block, before
        self._lengths = [row.length for row in residuals]
        self._given = _joined([row.given for row in residuals])
        self._made = _joined([row.made for row in residuals])

    def outputs(self) -> list[torch.Tensor]:
        """The block's output (A, E) of each row, with whatever is in the edited layer's place now;
        the rows go through that as one batch of N."""
        waiting: dict[nn.Module, list[Any]] = {}
        for module, output in zip(self._before, self._made, strict=True):
            waiting.setdefault(module, []).append(output)
        args, kwargs = self._given
        with ExitStack() as undo:
            for module, outputs in waiting.items():
                undo.callback(override(module, "forward", _saying(outputs)))
            out = self._block(*args, **kwargs)
        rows = (out[0] if isinstance(out, tuple) else out).reshape(
            len(self._lengths), max(self._lengths), -1
        )
        return [row[:n] for row, n in zip(rows, self._lengths, strict=True)]


def finetune_together(
    path: AnswerPath,
    layer: EditedLayer,
    residuals: Sequence[Residual],
    answers: Sequence[Sequence[int]],
    starts: Sequence[Start],
    schedule: Schedule,
) -> list[Trained | EditFailedError]:
    """Train N edits at once, each on its own answer, until each gives it; the short way all along,
    so that every step reads the output head once for all of them."""
    batch, asked = path.batch(residuals), list(range(len(residuals)))

    def losses(edits: Sequence[int], held: Sequence[Tensors]) -> torch.Tensor:
        nonlocal batch, asked
        if edits != asked:
            batch, asked = path.batch([residuals[i] for i in edits]), list(edits)
        with layer.training(*held):
            said = path.head([batch.outputs()])
        wanted = [torch.tensor(list(answers[i]), device=said[0].device) for i in edits]
        each = F.cross_entropy(torch.cat(said), torch.cat(wanted), reduction="none")
        return torch.stack([row.mean() for row in each.split([len(w) for w in wanted])])

    return descend(losses, starts, schedule)


@dataclass
class _Seen:
    """Hooks, and what they saw in one pass: the layer's input and output, what the block was called
    with, and what its parts gave before the one with the layer was done."""

    x: Any = None
    y: Any = None
    given: Any = None
    made: list[tuple[nn.Module, Any]] = field(default_factory=list)

    def at_layer(self, module: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> None:
        self.x, self.y = args[0], out

    def at_block(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.given = (args, kwargs)

    def at_child(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if self.x is None:
            self.made.append((module, out))


class _Cut(NamedTuple):
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
        found = rows[self.row if len(rows) > 1 else 0]
        first = len(found) - self.width - 1
        return found[first : first + self.length].detach().clone()

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


@contextmanager
def _stirred(layer: nn.Module, found: Recorded) -> Iterator[None]:
    """Inside the context the layer's output is another one, at every token by as much as the token
    itself says, and by about as much as outputs differ."""
    x, y = torch.cat(found.x).float(), torch.cat(found.y).float()
    chance = torch.Generator().manual_seed(0)
    reads, adds = (torch.randn(t.shape[-1], generator=chance).to(t.device) for t in (x, y))
    reads /= (x @ reads).std().clamp_min(1e-6)
    adds *= y.std()

    def stir(module: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor:
        by = (args[0].float() @ reads)[..., None] * adds
        return out + by.to(out.dtype)

    handle = layer.register_forward_hook(stir)
    try:
        yield
    finally:
        handle.remove()
