"""Watching a model's calls: which tokens of each are the prompt, and which are decode steps.

The edited layer sees only its own input. Which tokens are padding, where a prompt ends, and whether
a call is a prompt or a decode step are read off the calls of the modules *around* it: every module
on the path from the model's root to the layer that takes an `attention_mask`. The innermost one
that says something wins, since inner calls have image tokens merged in, and outer ones still have
the plain mask where inner ones get a dictionary or a 4-D one.

This module knows of decisions only that they are held. Letters: B = rows of the batch, T = tokens
in this call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from balancedit.errors import RoutingError
from balancedit.layer.ahead import StepsAhead
from balancedit.layer.calls import (
    batch_shape,
    cached_length,
    device_of,
    named_arguments,
    refuse_packed,
    takes_mask,
    weakly_known,
)
from balancedit.layer.decisions import Decision, Route

IN_PIECES = (
    "the prompt arrives in pieces (a chunked prefill, or a continued conversation); edits are "
    "chosen on whole prompts: pass it in one call, with prefill_chunk_size=None and without a "
    "filled cache"
)


@dataclass
class Call:
    """One observed call of the language model."""

    prompt: torch.Tensor | None = None  # (B, T) bool: tokens that make the key; None = decode step
    outer: nn.Module | None = None  # whose call it is: the outermost module observed
    prompts: tuple[torch.Tensor, torch.Tensor] | None = None  # of `outer`: prompt and all tokens
    extra: int = 0  # tokens behind the prompt that `generate` guesses at
    route: Route | None = None
    cache: Any = None


@dataclass
class Session:
    """One `generate`: its first call is the prompt, all later ones are decode steps. shape: (B, T)
    of the prompts it was given; its first call may bring more rows (beams) and more tokens
    (guesses at the answer). ahead: its next steps, where they were
    made with the first."""

    route: Route | None = None
    shape: tuple[int, int] | None = None
    ahead: StepsAhead | None = None


class CallWatch:
    """Follows the calls of the modules on a path, by hooks, while it is attached.

    path: the modules from the model's root down to (not including) the edited layer. idle: whether
    nothing is to be decided just now, so that calls which could not be are let pass.
    """

    def __init__(self, path: Sequence[nn.Module], idle: Callable[[], bool]) -> None:
        self._observed = [m for m in path if takes_mask(m)]
        if not self._observed:
            raise RoutingError(
                "no module around the edited layer takes an attention_mask; "
                "its prompts cannot be told from padding"
            )
        self._idle = idle
        self.before: Callable[[], None] | None = None
        self._own = 0  # passes of ours under way
        self._depth = 0
        self.call: Call | None = None
        self.session: Session | None = None
        self._prompt_lengths: torch.Tensor | None = None
        self._by_cache: weakref.WeakKeyDictionary[Any, Route] = weakref.WeakKeyDictionary()

    def attach(self) -> Iterator[Callable[[], None]]:
        """Start watching; gives what takes each hook back."""
        for module in self._observed:
            yield module.register_forward_pre_hook(self._enter, with_kwargs=True).remove
            yield module.register_forward_hook(self._leave, always_call=True).remove

    def forget(self) -> None:
        """Forget every held decision."""
        self.before = None
        self._depth, self.call, self.session = 0, None, None
        self._by_cache.clear()

    # -- contexts ----------------------------------------------------------------------------

    @contextmanager
    def generating(self, shape: tuple[int, int] | None) -> Iterator[None]:
        """Around one `generate` of prompts of this (B, T) shape; it may contain others, of parts of
        the model."""
        if self.session is not None:
            if self.session.route is None:
                self.session.shape = shape or self.session.shape
            yield
            return
        self.session, self._depth = Session(shape=shape), 0
        try:
            yield
        finally:
            self.session, self._depth = None, 0

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Inside the context calls of the model have nothing to do with the one under way."""
        before = self._depth, self.call, self.session
        self._depth, self.call, self.session = 0, None, None
        self._own += 1
        try:
            with self.prompt_lengths(None):
                yield
        finally:
            self._own -= 1
            self._depth, self.call, self.session = before

    @contextmanager
    def decoding(self, route: Route) -> Iterator[None]:
        """Inside the context calls of the model are decode steps under this decision, and have
        nothing to do with the one under way."""
        with self.elsewhere():
            self.session = Session(route=route)
            yield

    @contextmanager
    def prompt_lengths(self, lengths: Sequence[int] | torch.Tensor | None) -> Iterator[None]:
        """Inside the context, row b's prompt is its first lengths[b] real (non-padding) tokens;
        what follows (an answer, in teacher forcing) never reaches the key."""
        previous = self._prompt_lengths
        self._prompt_lengths = None if lengths is None else torch.as_tensor(lengths)
        try:
            yield
        finally:
            self._prompt_lengths = previous

    def begins(self, cache: Any = None) -> None:
        """`before`, where a call begins that is part of no other; cache: what it goes on from."""
        outermost = self.session is None and not self._own and not cached_length(cache)
        if outermost and self.before is not None:
            self.before()

    # -- what is held ------------------------------------------------------------------------

    def hold(self, route: Route) -> None:
        """Take this decision in the call under way, and in the decode steps behind it."""
        assert self.call is not None
        self.call.route = route
        if self.session is not None:
            self.session.route = route

    def made_ahead(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], idle: bool
    ) -> Any:
        """What a call of a module gives, where it is the next of the steps made ahead; None where
        it must be made, and with it all that follow. idle: whether nothing may fire in it."""
        session = self.session
        if session is None or session.ahead is None:
            return None
        ahead, session.ahead = session.ahead, None
        made = None if idle else ahead.asked_for(module, named_arguments(module, args, kwargs))
        if made is not None and ahead.left:
            session.ahead = ahead
        return made

    def reopen(self) -> None:
        """Forget what was decided in the call under way, which is run (again)."""
        if self.call is not None:
            self.call.route = None
        if self.session is not None:
            self.session.route = None

    # -- hooks -------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._depth == 0 or module is self._observed[0]:  # an interrupt may leave depth behind
            self._depth, self.call = 0, Call()
        self._depth += 1
        if self.call is None:
            return
        if self._depth == 1:
            self.begins(kwargs.get("past_key_values"))
            self.call.outer = module
        held = self.session.route if self.session else None
        given = kwargs if held is not None else named_arguments(module, args, kwargs)
        shape = batch_shape(given) or batch_shape(named_arguments(module, args, kwargs))
        if shape is None:
            return
        if held is not None:  # a decode step: nothing else to work out
            _check_rows(held, shape[0])
            self.call.route = held
            return
        if self._depth == 1 and self.session is not None and self.session.shape is not None:
            self.call.extra = max(0, shape[1] - self.session.shape[1])
        self._observe(given, *shape)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth = max(0, self._depth - 1)
        call = self.call
        if call is None or call.route is None:
            return
        if call.prompt is None and self.session is not None:
            return  # a decode step: its cache is the prompt's
        cache = call.cache if call.cache is not None else getattr(output, "past_key_values", None)
        if weakly_known(cache):
            self._by_cache[cache] = call.route

    def _observe(self, given: dict[str, Any], batch: int, length: int) -> None:
        """Work out from one call's arguments which of its tokens make the key."""
        call = self.call
        assert call is not None
        cache = given.get("past_key_values")
        call.cache = cache if cache is not None else call.cache
        mask = given.get("attention_mask")
        flat = isinstance(mask, torch.Tensor) and mask.dim() == 2 and mask.shape[1] >= length
        past = cached_length(cache)
        if flat and past == 0:
            past = mask.shape[1] - length  # type: ignore[union-attr]
        held = self._held(batch, length, past, cache)
        if held is not None:
            call.route, call.prompt = held, None
            return
        if flat:
            prompt = mask[:, -length:].bool()  # type: ignore[index]
        elif call.prompt is not None and call.prompt.shape == (batch, length):
            return  # an outer call had the plain mask; this one says nothing new
        else:
            prompt = torch.ones((batch, length), dtype=torch.bool, device=device_of(given))
        if not self._idle():
            refuse_packed(given, prompt)
        previous, real = call.prompt, prompt
        call.prompt = self._without_answer(prompt, given.get("labels"))
        if previous is not None and previous.shape == call.prompt.shape:
            # an outer call may have known the labels
            call.prompt = call.prompt & previous.to(call.prompt.device)
        if call.prompts is None:
            call.prompts = call.prompt, real

    def _held(self, batch: int, length: int, past: int, cache: Any) -> Route | None:
        """The decision this call must go on with, or None when it brings a new prompt."""
        if not past:
            return None
        route = self._by_cache.get(cache) if weakly_known(cache) else None
        if route is None and self._idle():
            return Route((Decision(),) * batch)
        if route is None:
            raise RoutingError(
                f"{past} prompt tokens are already in a cache that was filled elsewhere; run "
                "the whole prompt in one call inside the editor's context"
            )
        if self.session or length > 1:
            raise RoutingError(IN_PIECES)
        _check_rows(route, batch)
        return route

    def _without_answer(self, real: torch.Tensor, labels: Any) -> torch.Tensor:
        """Drop from `real` (B, T) the tokens of a teacher-forced answer, and guesses at one."""
        if self.session is not None:
            if self.call is None or not self.call.extra:
                return real
            kept = real.clone()
            kept[:, -self.call.extra :] = False
            return kept
        if self._prompt_lengths is not None:
            lengths = self._prompt_lengths.to(real.device)
            if lengths.shape != real.shape[:1] or bool((lengths < 1).any()):
                raise RoutingError(
                    f"prompt_lengths must be {len(real)} numbers of at least 1, one a row"
                )
            return real & (real.cumsum(1) <= lengths[:, None])
        if isinstance(labels, torch.Tensor) and labels.shape == real.shape:
            answer = (labels != -100).cumsum(1) > 0
            prompt = real & ~answer.to(real.device)
            if not bool(prompt.any(1).all()):
                raise RoutingError(
                    "labels cover a whole row, so its prompt is empty; set the prompt's labels to "
                    "-100 or pass prompt_lengths"
                )
            return prompt
        return real


def _check_rows(route: Route, batch: int) -> None:
    if len(route.rows) != batch:
        raise RoutingError(f"a decode step brings {batch} rows, its prompt had {len(route.rows)}")
