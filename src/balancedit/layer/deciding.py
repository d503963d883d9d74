"""Deciding first: what decisions wait for is found out before a call of the model gives anything,
and then the call goes on under decisions that wait for nothing.

A decision may depend on what the untouched model would say (`layer/old_answers.py`). The call's own
pass is taken for the untouched model's: rows that wait go through the untouched layer in it. Only
where an edit then turns out to fire is the pass made again, from the edited layer's block on where
the model allows that. What called the model (a `generate` with its streamer, its processors and its
random numbers) sees one pass.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn

from balancedit.layer.calls import batch_shape, device_of, named_arguments
from balancedit.layer.decisions import Decision, OpenTraces, Route
from balancedit.layer.old_answers import OldAnswers, PromptCall
from balancedit.layer.prompts import evaluating, prompts_alone
from balancedit.layer.watching import CallWatch


class Rereads(Protocol):
    """What a second pass over the same prompts may start from (`prefill/prefix.py`)."""

    def first_of_two(
        self,
    ) -> AbstractContextManager[Callable[[], AbstractContextManager[None]]]:
        """Around a forward pass that may have to be made again; gives what to make that in."""


class FirstDecisions:
    """Settles the decisions of a model's own calls.

    watch: follows the calls. traces: where decisions are recorded. old_answers: asks what the
    untouched model would say. prefix: what a second pass may start from. paused: a context in which
    nothing fires.
    """

    def __init__(
        self,
        watch: CallWatch,
        traces: OpenTraces,
        old_answers: OldAnswers,
        prefix: Rereads | None,
        paused: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._watch = watch
        self._traces = traces
        self._old_answers = old_answers
        self._prefix = prefix
        self._paused = paused
        self.rows: Sequence[Decision] | None = None  # what is decided on the prompts under way
        self.claims = False  # whether decisions may wait for the untouched model's answer
        self.under_way = False  # whether a pass is being made whose decisions are settled after it

    def forward(self, module: nn.Module, idle: Callable[[], bool]) -> Callable[..., Any]:
        """A module's `forward` under settled decisions. idle: whether nothing is to be decided."""
        inner: Any = module.forward

        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            call = self._watch.call
            if idle() or self.rows is not None or self.under_way:
                return inner(*args, **kwargs)
            if call is None or call.outer is not module or call.prompts is None:
                return inner(*args, **kwargs)  # a part of a call, or a decode step
            given = named_arguments(module, args, kwargs)
            if _is_training(module):
                with self.beforehand(module, given, call.prompts[0]):
                    return inner(*args, **kwargs)
            if not self.claims:
                return inner(*args, **kwargs)
            return self._settled(PromptCall(module, given, *call.prompts), inner, args, kwargs)

        return forward

    def before_generation(
        self, module: nn.Module, given: dict[str, Any]
    ) -> AbstractContextManager[None]:
        """Around a `generate` with these arguments: decides first where its own pass, of a model in
        training mode, would have dropout in the keys."""
        shape, mask = batch_shape(given), given.get("attention_mask")
        if shape is None or not _is_training(module):
            return nullcontext()
        flat = isinstance(mask, torch.Tensor) and mask.dim() == 2
        whole = torch.ones(shape, dtype=torch.bool, device=device_of(given))
        return self.beforehand(module, given, mask.bool() if flat else whole)  # type: ignore[union-attr]

    @contextmanager
    def beforehand(
        self, module: nn.Module, given: dict[str, Any], prompt: torch.Tensor
    ) -> Iterator[None]:
        """Inside the context a call's prompts are decided: by a pass of our own over them, in
        evaluation mode. given: the call's arguments by name; prompt: (B, T) bool."""
        prompts = prompts_alone(given, prompt, self._old_answers.inputs())
        with (
            torch.no_grad(),
            evaluating(module),
            self._watch.elsewhere(),
            self._traces.set_aside() as seen,
        ):
            module(**prompts)
        with self._redirected(seen.rows), self._traces.set_aside():
            yield
        self._traces.record(seen.rows, seen.stacked_keys())

    def _settled(self, call: PromptCall, inner: Any, args: Any, kwargs: Any) -> Any:
        """A call's output under decisions that wait for nothing."""
        cache = call.given.get("past_key_values")
        fresh = copy.deepcopy(cache)  # empty
        rereads = self._prefix.first_of_two() if self._prefix else nullcontext(nullcontext)
        self.under_way = True
        try:
            with self._traces.set_aside() as seen, rereads as second_pass:
                out = inner(*args, **kwargs)
            rows = self._asked(call, out, seen.rows)
            if Route.of(rows).groups != Route.of(seen.rows).groups:
                if cache is not None:
                    vars(cache).update(vars(fresh))
                with self._redirected(rows), self._traces.set_aside(), second_pass():
                    out = inner(*args, **kwargs)
            elif rows is not seen.rows:
                self._watch.hold(Route.of(rows))
        finally:
            self.under_way = False
        if seen.rows:
            self._traces.record(rows, seen.stacked_keys())
        return out

    def _asked(self, call: PromptCall, out: Any, rows: list[Decision]) -> list[Decision]:
        """The decisions on a call's prompts, once it is known what the untouched model, which gave
        `out`, would say."""
        waiting = {i: row.asked_of for i, row in enumerate(rows) if row.claims}
        if not waiting:
            return rows
        session = self._watch.session
        shape = session.shape if session else None
        beams = max(1, len(rows) // shape[0]) if shape else 1  # alike: asked about once
        asked = {i: answers for i, answers in waiting.items() if i % beams == 0}
        found = self._old_answers.given(call.gave(out), asked, self._apart)
        return [
            row.settled(found[i - i % beams]) if row.claims else row for i, row in enumerate(rows)
        ]

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Inside the context calls have nothing to do with the one under way, and nothing fires."""
        with self._watch.elsewhere(), self._paused(), self._traces.set_aside():
            yield

    @contextmanager
    def _redirected(self, rows: Sequence[Decision]) -> Iterator[None]:
        """Inside the context the call under way is run (again) with these decisions, one a row."""
        self._watch.reopen()
        previous, self.rows = self.rows, rows
        try:
            yield
        finally:
            self.rows = previous


def _is_training(module: nn.Module) -> bool:
    return any(m.training for m in module.modules())
