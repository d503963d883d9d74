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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from balancedit.errors import EditFailedError
from balancedit.layer.compiled import is_compiled
from balancedit.layer.edited import EditedLayer, Tensors
from balancedit.layer.paths import enclosing_stack
from balancedit.learning.answer_rows import AnswerBatch, CutAnswer, Recorded, Residual, SeenPass
from balancedit.learning.loop import (
    Schedule,
    Start,
    Trained,
    answer_logits,
    descend,
)

_SAME = 0.02  # share of a change in the logits by which the short way may miss it


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
        with self.recorded(answers) as recorded, self._watching_what_follows():
            before = torch.cat(answer_logits(self._model, inputs, answers))
        with _stirred(self._layer, recorded):
            expected = torch.cat(answer_logits(self._model, inputs, answers))
            try:
                short = torch.cat(self.head([self.batch(recorded.residuals).outputs()]))
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
        seen = SeenPass()
        recorded = Recorded()
        with ExitStack() as undo:
            undo.callback(self._layer.register_forward_hook(seen.at_layer).remove)
            if self._block is not None and self._fits is not False:
                undo.callback(
                    self._block.register_forward_pre_hook(seen.at_block, with_kwargs=True).remove
                )
                for child in self._block.children():
                    undo.callback(child.register_forward_hook(seen.at_child).remove)
            yield recorded
        self._before = [module for module, _ in seen.outputs]
        width = max(map(len, answers)) if width is None else width
        for i, answer in enumerate(answers):
            if answer:
                cut = CutAnswer(len(answers), i, width, len(answer))
                recorded.x.append(cut(seen.x))
                recorded.y.append(cut(seen.y))
                if seen.arguments is not None:
                    outputs = [output for _, output in seen.outputs]
                    recorded.residuals.append(
                        Residual(len(answer), cut.all(seen.arguments), cut.all(outputs))
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

    @contextmanager
    def _watching_what_follows(self) -> Iterator[None]:
        """Around one pass: notes the modules that run when the last block is done, in order."""
        assert self._block is not None
        ran: list[nn.Module] = []
        leaves = [m for m in self._model.modules() if not list(m.children())]
        with ExitStack() as undo:
            for leaf in leaves:
                hook = leaf.register_forward_hook(lambda m, _args, _out: ran.append(m))
                undo.callback(hook.remove)
            undo.callback(self._block.register_forward_hook(lambda *_: ran.clear()).remove)
            yield
        self._after = ran


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
            logits = path.head([batch.outputs()])
        wanted = [torch.tensor(list(answers[i]), device=logits[0].device) for i in edits]
        each = F.cross_entropy(torch.cat(logits), torch.cat(wanted), reduction="none")
        return torch.stack([row.mean() for row in each.split([len(w) for w in wanted])])

    return descend(losses, starts, schedule)


@contextmanager
def _stirred(layer: nn.Module, recorded: Recorded) -> Iterator[None]:
    """Inside the context the layer's output is another one, at every token by as much as the token
    itself says, and by about as much as outputs differ."""
    x, y = torch.cat(recorded.x).float(), torch.cat(recorded.y).float()
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
