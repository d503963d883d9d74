"""Deciding first: what decisions wait for is found out before a call of the model gives anything,
and then the call goes on under decisions that wait for nothing.

A decision may depend on what the untouched model would say (`layer/old_answers.py`). The call's own
pass is taken for the untouched model's: rows that wait go through the untouched layer in it. Only
where an edit then turns out to fire is the pass made again, from the edited layer's block on where
the model allows that; and where that is likely, it is made first, and the pass that decides makes
the next steps too (`layer/ahead.py`).

What called the model (a `generate` with its streamer, its processors and its random numbers) sees
one pass.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn

from balancedit.layer.ahead import extends, steps_ahead
from balancedit.layer.calls import batch_shape, device_of, named_arguments
from balancedit.layer.decisions import AnswerIds, Decision, OpenTraces, Route
from balancedit.layer.old_answers import OldAnswers, PromptCall, read_once
from balancedit.layer.prompts import evaluating, prompts_alone
from balancedit.layer.watching import CallWatch

#: An edit's id -> the answer that it likely comes to, its end included, () where none is likely.
#: It decides nothing: steps are made ahead by it, and stand if the caller takes these tokens.
Drafts = Callable[[str], AnswerIds]


class Rereads(Protocol):
    """What a second pass over the same prompts may start from (`prefill/prefix.py`)."""

    @property
    def starts_late(self) -> bool:
        """Whether a second pass just now would be a short one."""

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
        self.drafts: Drafts = no_draft  # what a fired edit's rows will likely say
        self.claims = False  # whether decisions may wait for the untouched model's answer
        self.under_way = False  # whether a pass is being made whose decisions are settled after it

    def forward(self, module: nn.Module, idle: Callable[[], bool]) -> Callable[..., Any]:
        """A module's `forward` under settled decisions. idle: whether nothing is to be decided."""
        inner: Any = module.forward

        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            call = self._watch.call
            made = self._watch.made_ahead(module, args, kwargs, idle())
            if made is not None:
                return made
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
        empty = copy.deepcopy(cache)
        rereads = self._prefix.first_of_two() if self._prefix else nullcontext(nullcontext)
        self.under_way = True
        try:
            with self._traces.set_aside() as seen, rereads as second_pass:
                out = inner(*args, **kwargs)

            def again(rows: Sequence[Decision]) -> Any:
                if cache is not None:
                    vars(cache).update(vars(copy.deepcopy(empty)))
                with self._redirected(rows), self._traces.set_aside(), second_pass():
                    return inner(*args, **kwargs)

            call = call.gave(out)
            asked = self._asked(seen.rows)
            guess = self._guess(call, seen.rows, asked)
            if guess is not None:
                rows, out = self._jointly(call, seen.rows, asked, guess, again)
            elif asked:
                given = self._old_answers.given(call, asked, self._apart)
                rows = _decided(seen.rows, given, self._beams(seen.rows))
                if Route.of(rows).groups != Route.of(seen.rows).groups:
                    out = again(rows)
                else:
                    self._watch.hold(Route.of(rows))
            else:
                rows = seen.rows
        finally:
            self.under_way = False
        if seen.rows:
            self._traces.record(rows, seen.stacked_keys())
        return out

    def _asked(self, rows: Sequence[Decision]) -> dict[int, tuple[AnswerIds, ...]]:
        """The answers that a call's rows wait for; of beams, which are alike, the first one's."""
        beams = self._beams(rows)
        return {i: row.asked_of for i, row in enumerate(rows) if row.claims and i % beams == 0}

    def _beams(self, rows: Sequence[Decision]) -> int:
        session = self._watch.session
        shape = session.shape if session else None
        return max(1, len(rows) // shape[0]) if shape else 1

    def _guess(
        self, call: PromptCall, rows: Sequence[Decision], asked: Mapping[int, Sequence[AnswerIds]]
    ) -> list[Decision] | None:
        """What is decided if the untouched model goes on as it begins: a reason to make the next
        steps with the pass that finds it out (`layer/ahead.py`). None where that would not pay, or
        could not be taken back: rows that may fire nothing are read in the caller's batch alone.
        """
        late = self._prefix is not None and self._prefix.starts_late
        if not asked or not late or self._watch.session is None or self._beams(rows) > 1:
            return None
        if not extends(call) or not self._old_answers.reads_on(call):
            return None
        begun = self._old_answers.begun(call, asked)
        guess = _decided(rows, {i: [a for row, a in begun if row == i] for i in asked})
        return guess if all(row.fired is not None for row in guess) else None

    def _jointly(
        self,
        call: PromptCall,
        rows: Sequence[Decision],
        asked: Mapping[int, Sequence[AnswerIds]],
        guess: Sequence[Decision],
        again: Callable[[Sequence[Decision]], Any],
    ) -> tuple[Sequence[Decision], Any]:
        """The decisions on a call's prompts and its output under them, where a guess at them is
        likely right. again: makes the call once more under given decisions."""
        cache = call.given["past_key_values"]
        untouched = copy.copy(cache)  # `again` gives the cache other layers, and leaves these
        edited = again(guess)
        pairs = self._old_answers.begun(call, asked)
        route = Route.of([*guess, *(Decision(),) * len(read_once(pairs)[0])])
        with self._watch.decoding(route), self._traces.set_aside():
            drafts = [self.drafts(row.fired) if row.fired else () for row in guess]
            given, steps = steps_ahead(call, call.gave(edited), untouched, pairs, drafts)
        settled = _decided(rows, {i: given.get(i, ()) for i in asked})
        if Route.of(settled).groups == Route.of(guess).groups:
            assert self._watch.session is not None
            self._watch.session.ahead = steps
            return settled, edited
        if Route.of(settled).groups != Route.of(rows).groups:
            return settled, again(settled)
        vars(cache).update(vars(untouched))
        self._watch.hold(Route.of(settled))
        return settled, call.out

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


def _decided(
    rows: Sequence[Decision], given: Mapping[int, Collection[AnswerIds]], beams: int = 1
) -> list[Decision]:
    """The decisions of a call's rows, once it is known which answers the model gives, by row; of
    beams by the first one's."""
    return [row.settled(given[i - i % beams]) if row.claims else row for i, row in enumerate(rows)]


def no_draft(_: str) -> AnswerIds:
    """Nothing is likely."""
    return ()


def _is_training(module: nn.Module) -> bool:
    return any(m.training for m in module.modules())
