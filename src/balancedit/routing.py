"""Routing: one decision per prompt, made at prefill, held for every decode step of that row.

The edited layer sees only its own input. Which tokens are padding, where a prompt ends, and whether
a call is a prompt or a decode step are read off the calls of the modules *around* it: every module
on the path from the model's root to the layer that takes an `attention_mask`. The innermost one
that says something wins, since inner calls have image tokens merged in, and outer ones still have
the plain mask where inner ones get a dictionary or a 4-D one.

Letters: B = rows of the batch, T = tokens in this call, S = T + tokens already in the cache,
D = width of the key layer's input.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from balancedit.calls import (
    batch_shape,
    cached_length,
    chunked_prefill,
    named_arguments,
    override,
    takes_mask,
    weakly_known,
)
from balancedit.decisions import Decision, OpenTraces, Route, RouteTrace
from balancedit.errors import RoutingError
from balancedit.keys import Pool
from balancedit.models.support import check_not_compiled
from balancedit.prompts import greedily, prompts_alone

Read = Callable[[torch.Tensor, torch.Tensor], list[str]]

_IN_PIECES = (
    "the prompt arrives in pieces (a chunked prefill, or a continued conversation); edits are "
    "chosen on whole prompts: pass it in one call, with prefill_chunk_size=None and without a "
    "filled cache"
)


@dataclass
class _Call:
    """One observed call of the language model."""

    prompt: torch.Tensor | None = None  # (B, T) bool: tokens that make the key; None = decode step
    route: Route | None = None
    cache: Any = None


@dataclass
class _Session:
    """One `generate`: its first call is the prompt, all later ones are decode steps."""

    route: Route | None = None


class Router:
    """Watches a model's calls, makes the key of every prompt, and holds what was decided on it.

    path: the modules from the model's root down to (not including) the edited layer.
    key_layer: the module whose input makes the key; it must run no later than the edited layer.
    decide: (B, D) float32 keys -> one `Decision` a row; None while nothing needs deciding.
    read: (B, tokens) that `generate` gave and (B, T) prompt ids -> the answers' texts; needed where
    decisions make claims.
    """

    def __init__(
        self,
        path: Sequence[nn.Module],
        key_layer: nn.Module,
        pool: Pool,
        decide: Callable[[torch.Tensor], Sequence[Decision]] | None,
        read: Read | None = None,
    ) -> None:
        self._path = tuple(path)
        self._observed = [m for m in path if takes_mask(m)]
        if not self._observed:
            raise RoutingError(
                "no module around the edited layer takes an attention_mask; "
                "its prompts cannot be told from padding"
            )
        self._generators = [m for m in path if callable(getattr(m, "generate", None))]
        self._key_layer = key_layer
        self._pool = pool
        self.decide = decide
        self._read = read
        self._decided: Sequence[Decision] | None = None
        self._leave_open = False
        self._depth = 0
        self._call: _Call | None = None
        self._session: _Session | None = None
        self._traces = OpenTraces()
        self._prompt_lengths: torch.Tensor | None = None
        self._paused = 0
        self._by_cache: weakref.WeakKeyDictionary[Any, Route] = weakref.WeakKeyDictionary()
        self._undo: list[Callable[[], None]] = []

    # -- attaching ---------------------------------------------------------------------------

    def attach(self) -> None:
        """Start watching. Only our own hooks are ever removed by `detach`. Raises
        `UnsupportedModelError` for a model that was compiled meanwhile."""
        check_not_compiled([*self._path, self._key_layer])
        for module in self._observed:
            before = module.register_forward_pre_hook(self._enter, with_kwargs=True)
            after = module.register_forward_hook(self._leave, always_call=True)
            self._undo += [before.remove, after.remove]
        handle = self._key_layer.register_forward_pre_hook(self._at_key_layer)
        self._undo.append(handle.remove)
        for module in self._generators:
            self._undo.append(override(module, "generate", self._held_over(module)))
            if callable(getattr(module, "generate_batch", None)):
                self._undo.append(override(module, "generate_batch", _refuse_packed))
        if self._read is not None:
            root = self._path[0]
            self._undo.append(override(root, "forward", self._forward_settled(root)))

    def detach(self) -> None:
        """Stop watching and forget every held decision."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._depth, self._call, self._session = 0, None, None
        self._by_cache.clear()

    def _held_over(self, module: nn.Module) -> Callable[..., Any]:
        """`generate` that fixes its prompts at the first call and holds what was decided there."""
        inner: Any = module.generate

        @functools.wraps(inner)
        def generate(*args: Any, **kwargs: Any) -> Any:
            if self.decide is not None and chunked_prefill(module, kwargs):
                raise RoutingError(_IN_PIECES)
            kwargs.setdefault("disable_compile", True)  # compiled steps may pass hooks over

            def once() -> Any:
                with self._generating():
                    return inner(*args, **kwargs)

            def said() -> list[str]:
                asked = greedily(kwargs)
                ids = args[0] if args else asked.get("input_ids", asked.get("inputs"))
                with self._generating():
                    out = inner(*args, **asked)
                return self._texts(out, ids)

            return self._settle(once, said)

        return generate

    def _forward_settled(self, root: nn.Module) -> Callable[..., Any]:
        """`forward` of the whole model, run again where the first run left a prompt undecided and
        an edit turns out to fire."""
        inner: Any = root.forward

        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._session is not None or self.decide is None:
                return inner(*args, **kwargs)
            given = named_arguments(root, args, kwargs)
            cache = given.get("past_key_values")
            if cached_length(cache):
                return inner(*args, **kwargs)
            fresh = copy.deepcopy(cache)
            runs = 0

            def once() -> Any:
                nonlocal runs
                runs += 1
                if runs > 1 and cache is not None:
                    vars(cache).update(vars(fresh))
                return inner(*args, **kwargs)

            def said() -> list[str]:
                mask = given.get("attention_mask")
                real = torch.ones_like(given["input_ids"]) if mask is None else mask
                prompts = prompts_alone(
                    given, self._without_answer(real.bool(), given.get("labels"))
                )
                with self._generating():
                    out = type(root).generate(root, **greedily(prompts))  # type: ignore[attr-defined]
                return self._texts(out, prompts["input_ids"])

            return self._settle(once, said)

        return forward

    def _settle(self, once: Callable[[], Any], said: Callable[[], list[str]]) -> Any:
        """Run prompts, and once more where what the untouched model says to them makes an edit
        fire. said: asks it."""
        settled = self._leave_open or self._decided is not None or self._session is not None
        if self._read is None or self.decide is None or self._paused or settled:
            return once()
        outer, self._traces = self._traces, OpenTraces()
        try:
            with self._traces.tracing() as seen, self.left_open():
                out = once()
            if any(row.claims for row in seen.rows):
                with self.paused():
                    texts = said()
                beams = len(seen.rows) // len(texts)
                rows = [row.settled(texts[i // beams]) for i, row in enumerate(seen.rows)]
                if any(row.fired for row in rows):
                    with self.decided(rows):
                        out = once()
                seen.rows[:] = rows
        finally:
            self._traces = outer
        if seen.rows:
            self._traces.record(seen.rows, seen.stacked_keys())
        return out

    def _texts(self, out: Any, prompt: torch.Tensor | None) -> list[str]:
        assert self._read is not None
        ids = out.new_zeros((len(out), 0)) if prompt is None else prompt
        return self._read(out, ids)

    @contextmanager
    def _generating(self) -> Iterator[None]:
        if self._session is not None:  # a model whose generate calls its language model's
            yield
            return
        self._session, self._depth = _Session(), 0
        try:
            yield
        finally:
            self._session, self._depth = None, 0

    # -- what callers use --------------------------------------------------------------------

    def tracing(self) -> AbstractContextManager[RouteTrace]:
        """Collect keys and decisions of the prompts seen inside the context."""
        return self._traces.tracing()

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

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the context nothing fires: every row takes the untouched layer."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    @contextmanager
    def left_open(self) -> Iterator[None]:
        """Inside the context undecided prompts stay undecided: the caller asks the untouched model
        and comes again with `decided`."""
        previous, self._leave_open = self._leave_open, True
        try:
            yield
        finally:
            self._leave_open = previous

    @contextmanager
    def decided(self, rows: Sequence[Decision]) -> Iterator[None]:
        """Inside the context every prompt's decisions are these, one a row or one a beam."""
        previous, self._decided = self._decided, rows
        try:
            yield
        finally:
            self._decided = previous

    @property
    def is_paused(self) -> bool:
        """Whether a `paused` context is open."""
        return self._paused > 0

    def current(self) -> Route | None:
        """The decision in force for the call under way; None where nothing can fire.

        It outlives the call: gradient checkpointing runs the layer again during backward, outside
        any call we observe, and must take the same decision.
        """
        if self._paused or self._call is None or self.decide is None:
            return None
        if self._call.route is None:
            raise RoutingError(
                "the edited layer ran before its key layer; choose a key layer that comes no later"
            )
        return self._call.route

    # -- hooks -------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._depth == 0 or module is self._observed[0]:  # an interrupt may leave depth behind
            self._depth, self._call = 0, _Call()
        self._depth += 1
        if self._call is None:
            return
        held = self._session.route if self._session else None
        given = kwargs if held is not None else named_arguments(module, args, kwargs)
        shape = batch_shape(given) or batch_shape(named_arguments(module, args, kwargs))
        if shape is None:
            return
        if held is not None:  # a decode step: nothing else to work out
            _check_rows(held, shape[0])
            self._call.route = held
            return
        self._observe(given, *shape)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth = max(0, self._depth - 1)
        call = self._call
        if call is None or call.route is None:
            return
        if call.prompt is None and self._session is not None:
            return  # a decode step: its cache is the prompt's
        cache = call.cache if call.cache is not None else getattr(output, "past_key_values", None)
        if weakly_known(cache):
            self._by_cache[cache] = call.route

    def _observe(self, given: dict[str, Any], batch: int, length: int) -> None:
        """Work out from one call's arguments which of its tokens make the key."""
        call = self._call
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
            ids = given.get("inputs_embeds", given.get("input_ids"))
            device = ids.device if isinstance(ids, torch.Tensor) else None
            prompt = torch.ones((batch, length), dtype=torch.bool, device=device)
        previous = call.prompt
        call.prompt = self._without_answer(prompt, given.get("labels"))
        if previous is not None and previous.shape == call.prompt.shape:
            call.prompt &= previous.to(
                call.prompt.device
            )  # an outer call may have known the labels

    def _held(self, batch: int, length: int, past: int, cache: Any) -> Route | None:
        """The decision this call must go on with, or None when it brings a new prompt."""
        if not past:
            return None
        route = self._by_cache.get(cache) if weakly_known(cache) else None
        if route is None and (self.decide is None or self._paused):
            return Route((Decision(),) * batch)
        if route is None:
            raise RoutingError(
                f"{past} prompt tokens are already in a cache that was filled elsewhere; run "
                "the whole prompt in one call inside the editor's context"
            )
        if self._session or length > 1:
            raise RoutingError(_IN_PIECES)
        _check_rows(route, batch)
        return route

    def _without_answer(self, real: torch.Tensor, labels: Any) -> torch.Tensor:
        """Drop from `real` (B, T) the tokens of a teacher-forced answer."""
        if self._session is not None:
            return real
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

    def _at_key_layer(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        call = self._call
        if call is None or call.prompt is None or call.route is not None:
            return
        rows: Sequence[Decision] = (Decision(),) * len(call.prompt)
        if (self.decide is not None and not self._paused) or self._traces:
            keys = self._keys(args[0], call.prompt)
            rows = self.decisions(keys)
            self._traces.record(rows, keys)
        call.route = Route.of(rows)
        if self._session is not None:
            self._session.route = call.route

    def decisions(self, keys: torch.Tensor) -> Sequence[Decision]:
        """What is decided on prompts with these (B, D) keys just now."""
        if self.decide is None or self._paused:
            return (Decision(),) * len(keys)
        if self._decided is None:
            return self.decide(keys)
        beams = len(keys) // len(self._decided)
        return [row for row in self._decided for _ in range(beams)]

    def _keys(self, h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """(B, T, D) or flattened (B·T, D) layer input, (B, T) bool -> (B, D) float32 keys."""
        if h.numel() != prompt.numel() * h.shape[-1]:
            raise RoutingError(
                f"the key layer's input {tuple(h.shape)} does not hold one vector for each of the "
                f"{tuple(prompt.shape)} tokens; choose a layer of the language model"
            )
        return self._pool(h.detach().reshape(*prompt.shape, -1), prompt.to(h.device))


def _check_rows(route: Route, batch: int) -> None:
    if len(route.rows) != batch:
        raise RoutingError(f"a decode step brings {batch} rows, its prompt had {len(route.rows)}")


def _refuse_packed(*_: Any, **__: Any) -> Any:
    raise RoutingError(
        "generate_batch packs several prompts into one row, where edits cannot be told apart; "
        "use generate"
    )
