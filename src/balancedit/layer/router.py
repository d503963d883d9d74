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
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from balancedit.codebook.pooling import Pool
from balancedit.errors import RoutingError
from balancedit.layer.calls import (
    batch_shape,
    cached_length,
    chunked_prefill,
    named_arguments,
    override,
    refuse_packed,
    takes_mask,
    weakly_known,
)
from balancedit.layer.compiled import check_not_compiled
from balancedit.layer.decisions import Decision, OpenTraces, Route, RouteTrace
from balancedit.layer.old_answers import OldAnswers, PromptCall
from balancedit.layer.prompts import evaluating, prompts_alone


class Rereads(Protocol):
    """What a second pass over the same prompts may start from (`prefill/prefix.py`)."""

    def first_of_two(
        self,
    ) -> AbstractContextManager[Callable[[], AbstractContextManager[None]]]:
        """Around a forward pass that may have to be made again; gives what to make that in."""


_IN_PIECES = (
    "the prompt arrives in pieces (a chunked prefill, or a continued conversation); edits are "
    "chosen on whole prompts: pass it in one call, with prefill_chunk_size=None and without a "
    "filled cache"
)
_CONTINUED = (
    "the cache that was passed holds {} tokens of earlier turns already, and edits are chosen on "
    "whole prompts: give the whole conversation as input_ids, without past_key_values"
)


@dataclass
class _Call:
    """One observed call of the language model."""

    prompt: torch.Tensor | None = None  # (B, T) bool: tokens that make the key; None = decode step
    outer: nn.Module | None = None  # whose call it is: the outermost module observed
    prompts: tuple[torch.Tensor, torch.Tensor] | None = None  # of `outer`: prompt and all tokens
    extra: int = 0  # tokens behind the prompt that `generate` guesses at
    route: Route | None = None
    cache: Any = None


@dataclass
class _Session:
    """One `generate`: its first call is the prompt, all later ones are decode steps. shape: (B, T)
    of the prompts it was given; its first call may bring more rows (beams) and more tokens
    (guesses at the answer)."""

    route: Route | None = None
    shape: tuple[int, int] | None = None


class Router:
    """Watches a model's calls, makes the key of every prompt, and holds what was decided on it.

    path: the modules from the model's root down to (not including) the edited layer.
    key_layer: the module whose input makes the key; it must run no later than the edited layer.
    decide: (B, D) float32 keys -> one `Decision` a row; None while nothing needs deciding.
    old_answers: asks what the untouched model would say; needed where decisions make claims.
    prefix: what a second pass over the same prompts may start from.
    """

    def __init__(
        self,
        path: Sequence[nn.Module],
        key_layer: nn.Module,
        pool: Pool,
        decide: Callable[[torch.Tensor], Sequence[Decision]] | None = None,
        old_answers: OldAnswers | None = None,
        prefix: Rereads | None = None,
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
        self.claims = False  # whether decisions may depend on what the untouched model says
        self._old_answers = old_answers
        self._prefix = prefix
        self._decided: Sequence[Decision] | None = None
        self._deciding = False
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
        if self._old_answers is not None:
            for module in dict.fromkeys([self._path[0], *self._generators]):
                self._undo.append(override(module, "forward", self._decided_first(module)))
        root = self._path[0]
        if callable(getattr(root, "save_pretrained", None)):
            self._undo.append(override(root, "save_pretrained", self._warned(root)))

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
            if self.decide is not None and not self._paused:
                self._check_generation(module, kwargs)
            kwargs.setdefault("disable_compile", True)  # compiled steps may pass hooks over
            ids = args[0] if args else kwargs.get("inputs")
            prompts = kwargs if ids is None else kwargs | {"input_ids": ids}
            with self._generating(batch_shape(prompts)):
                if self._in_training(module):
                    with self._decided_before(module, prompts):
                        return inner(*args, **kwargs)
                return inner(*args, **kwargs)

        return generate

    def _check_generation(self, module: nn.Module, kwargs: dict[str, Any]) -> None:
        """Raise `RoutingError` for a way of generating in which prompts are not seen whole."""
        if chunked_prefill(module, kwargs):
            raise RoutingError(_IN_PIECES)
        earlier = cached_length(kwargs.get("past_key_values"))
        if earlier:
            raise RoutingError(_CONTINUED.format(earlier))
        if kwargs.get("assistant_early_exit") is not None:
            raise RoutingError(
                "with assistant_early_exit the model drafts its answers in passes that end before "
                "the edited layer; leave it out, or draft with an assistant_model"
            )

    def _warned(self, root: nn.Module) -> Callable[..., Any]:
        """`save_pretrained` that says what it does not save."""
        inner: Any = root.save_pretrained

        @functools.wraps(inner)
        def save_pretrained(*args: Any, **kwargs: Any) -> Any:
            if self.decide is not None:
                warnings.warn(
                    "this saves the untouched model: edits stand beside it and are not in its "
                    "weights; keep them with Editor.save(directory), and load both with "
                    "Editor.load(model, edits=directory)",
                    stacklevel=2,
                )
            return inner(*args, **kwargs)

        return save_pretrained

    # -- deciding first ----------------------------------------------------------------------

    def _decided_first(self, module: nn.Module) -> Callable[..., Any]:
        """`forward` that settles what its prompts' decisions wait for before it gives anything. The
        pass in which nothing waits, or nothing fires that waited, is the call's own and only one.
        """
        inner: Any = module.forward

        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            call = self._call
            undecided = self.decide is not None and self._decided is None and not self._paused
            if not undecided or self._deciding or call is None or call.outer is not module:
                return inner(*args, **kwargs)
            if call.prompts is None:  # a decode step
                return inner(*args, **kwargs)
            given = named_arguments(module, args, kwargs)
            if self._in_training(module):
                with self._decided_before(module, given):
                    return inner(*args, **kwargs)
            if not self.claims:
                return inner(*args, **kwargs)
            return self._settled(module, inner, args, kwargs, given)

        return forward

    def _settled(
        self, module: nn.Module, inner: Any, args: Any, kwargs: Any, given: dict[str, Any]
    ) -> Any:
        """A call's output under decisions that wait for nothing."""
        cache = given.get("past_key_values")
        fresh = copy.deepcopy(cache)  # empty
        again = self._prefix.first_of_two() if self._prefix else nullcontext(nullcontext)
        self._deciding = True
        try:
            with self._traces.set_aside() as seen, again as second_pass:
                out = inner(*args, **kwargs)
            rows = self._settled_rows(module, given, out, seen.rows)
            if rows is not seen.rows and Route.of(rows).groups != Route.of(seen.rows).groups:
                if cache is not None:
                    vars(cache).update(vars(fresh))
                with self._redirected(rows), self._traces.set_aside(), second_pass():
                    out = inner(*args, **kwargs)
            else:
                self._hold(Route.of(rows))
        finally:
            self._deciding = False
        if seen.rows:
            self._traces.record(rows, seen.stacked_keys())
        return out

    def _settled_rows(
        self, module: nn.Module, given: dict[str, Any], out: Any, rows: list[Decision]
    ) -> list[Decision]:
        """The decisions on the prompts of the call under way, once it is known what the untouched
        model, which gave `out`, would say."""
        waiting = {i: row.asked_of for i, row in enumerate(rows) if row.claims}
        call = self._call
        if not waiting or call is None or call.prompts is None:
            return rows
        assert self._old_answers is not None
        shape = self._session.shape if self._session else None
        beams = max(1, len(rows) // shape[0]) if shape else 1  # alike: asked about once
        asked = {i: answers for i, answers in waiting.items() if i % beams == 0}
        seen = PromptCall(module, given, *call.prompts, out)
        found = self._old_answers.given(seen, asked, self._apart)
        return [
            row.settled(found[i - i % beams]) if row.claims else row for i, row in enumerate(rows)
        ]

    def _in_training(self, module: nn.Module) -> bool:
        """Whether a call's own pass would have dropout in its keys, so that one of ours decides."""
        undecided = self.decide is not None and self._decided is None and not self._paused
        return undecided and self._old_answers is not None and _is_training(module)

    @contextmanager
    def _decided_before(self, module: nn.Module, given: dict[str, Any]) -> Iterator[None]:
        """Inside the context a call's prompts are decided: by a pass of our own over them, in
        evaluation mode. given: the call's arguments by name."""
        assert self._old_answers is not None
        shape, mask = batch_shape(given), given.get("attention_mask")
        if shape is None:
            yield
            return
        call = self._call if self._session is None else None
        if call is not None and call.prompts is not None:
            prompt, _ = call.prompts
        elif isinstance(mask, torch.Tensor) and mask.dim() == 2:
            prompt = mask.bool()
        else:
            prompt = torch.ones(shape, dtype=torch.bool, device=_device_of(given))
        prompts = prompts_alone(given, prompt, self._old_answers.inputs())
        with (
            torch.no_grad(),
            evaluating(module),
            self._elsewhere(),
            self._traces.set_aside() as seen,
        ):
            module(**prompts)
        with self._redirected(seen.rows), self._traces.set_aside():
            yield
        self._traces.record(seen.rows, seen.stacked_keys())

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """Inside the context calls of the model have nothing to do with the one under way."""
        before = self._depth, self._call, self._session
        self._depth, self._call, self._session = 0, None, None
        try:
            with self.prompt_lengths(None):
                yield
        finally:
            self._depth, self._call, self._session = before

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Inside the context calls have nothing to do with the one under way, and nothing fires."""
        with self._elsewhere(), self.paused(), self._traces.set_aside():
            yield

    @contextmanager
    def _redirected(self, rows: Sequence[Decision]) -> Iterator[None]:
        """Inside the context the call under way is run (again) with these decisions, one a row."""
        if self._call is not None:
            self._call.route = None
        if self._session is not None:
            self._session.route = None
        previous, self._decided = self._decided, rows
        try:
            yield
        finally:
            self._decided = previous

    def _hold(self, route: Route) -> None:
        """Go on with this route, in the call under way and the decode steps behind it."""
        if self._call is not None and self._call.route is not None:
            self._call.route = route
        if self._session is not None and self._session.route is not None:
            self._session.route = route

    @contextmanager
    def _generating(self, shape: tuple[int, int] | None) -> Iterator[None]:
        if self._session is not None:  # a model whose generate calls its language model's
            if self._session.route is None:
                self._session.shape = shape or self._session.shape
            yield
            return
        self._session, self._depth = _Session(shape=shape), 0
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
        if self._depth == 1:
            self._call.outer = module
        held = self._session.route if self._session else None
        given = kwargs if held is not None else named_arguments(module, args, kwargs)
        shape = batch_shape(given) or batch_shape(named_arguments(module, args, kwargs))
        if shape is None:
            return
        if held is not None:  # a decode step: nothing else to work out
            _check_rows(held, shape[0])
            self._call.route = held
            return
        if self._depth == 1 and self._session is not None and self._session.shape is not None:
            self._call.extra = max(0, shape[1] - self._session.shape[1])
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
            prompt = torch.ones((batch, length), dtype=torch.bool, device=_device_of(given))
        if self.decide is not None and not self._paused:
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
        """Drop from `real` (B, T) the tokens of a teacher-forced answer, and guesses at one."""
        if self._session is not None:
            if self._call is None or not self._call.extra:
                return real
            kept = real.clone()
            kept[:, -self._call.extra :] = False
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

    def _at_key_layer(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        call = self._call
        if call is None or call.prompt is None or call.route is not None:
            return
        rows: Sequence[Decision] = (Decision(),) * len(call.prompt)
        if (self.decide is not None and not self._paused) or self._traces:
            keys = self._keys(args[0], call.prompt)
            rows = self.decisions(keys)
            if not self._deciding and any(row.claims for row in rows):
                raise RoutingError(
                    f"a part of the model, {type(call.outer).__name__}, was called by itself, and "
                    "an edit here fires only where the whole untouched model would give its old "
                    "answer; call the model itself"
                )
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


def _is_training(module: nn.Module) -> bool:
    return any(m.training for m in module.modules())


def _device_of(given: dict[str, Any]) -> torch.device | None:
    ids = given.get("inputs_embeds", given.get("input_ids"))
    return ids.device if isinstance(ids, torch.Tensor) else None


def _check_rows(route: Route, batch: int) -> None:
    if len(route.rows) != batch:
        raise RoutingError(f"a decode step brings {batch} rows, its prompt had {len(route.rows)}")


def _refuse_packed(*_: Any, **__: Any) -> Any:
    raise RoutingError(
        "generate_batch packs several prompts into one row, where edits cannot be told apart; "
        "use generate"
    )
