"""Routing: one decision per prompt, made at prefill, held for every decode step of that row.

The router makes a prompt's key from the key layer's input, has it decided on, and says at the
edited layer which edit each row goes through. Which tokens are the prompt's is read off the calls
around it (`layer/watching.py`); what a decision waits for is settled before a call gives anything
(`layer/deciding.py`).

Letters: B = rows of the batch, T = tokens in this call, D = width of the key layer's input.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from balancedit.codebook.exact import exactly
from balancedit.codebook.pooling import Pool
from balancedit.errors import RoutingError
from balancedit.layer.calls import batch_shape, cached_length, chunked_prefill, override
from balancedit.layer.compiled import check_not_compiled
from balancedit.layer.deciding import Drafts, FirstDecisions, Rereads, no_draft
from balancedit.layer.decisions import Decision, OpenTraces, Route, RouteTrace
from balancedit.layer.old_answers import OldAnswers
from balancedit.layer.watching import IN_PIECES, CallWatch

_CONTINUED = (
    "the cache that was passed holds {} tokens of earlier turns already, and edits are chosen on "
    "whole prompts: give the whole conversation as input_ids, without past_key_values"
)

#: (B, D) float32 keys -> one decision a row.
Decide = Callable[[torch.Tensor], Sequence[Decision]]


class Router:
    """Watches a model's calls, makes the key of every prompt, and holds what was decided on it.

    path: the modules from the model's root down to (not including) the edited layer.
    key_layer: the module whose input makes the key; it must run no later than the edited layer.
    old_answers: asks what the untouched model would say; needed where decisions make claims.
    prefix: what a second pass over the same prompts may start from.
    """

    def __init__(
        self,
        path: Sequence[nn.Module],
        key_layer: nn.Module,
        pool: Pool,
        old_answers: OldAnswers | None = None,
        prefix: Rereads | None = None,
    ) -> None:
        self._path = tuple(path)
        self._generators = [m for m in path if callable(getattr(m, "generate", None))]
        self._key_layer = key_layer
        self._pool = pool
        self._decide: Decide | None = None
        self._paused = 0
        self._traces = OpenTraces()
        self._watch = CallWatch(path, self._is_idle)
        self._first = (
            FirstDecisions(self._watch, self._traces, old_answers, prefix, self.paused)
            if old_answers is not None
            else None
        )
        self._undo: list[Callable[[], None]] = []

    def decide_by(
        self, decide: Decide | None, *, claims: bool = False, drafts: Drafts | None = None
    ) -> None:
        """How prompts are routed from now on; None while nothing needs deciding. claims: whether
        decisions may wait for what the untouched model says; drafts: what edits that fire will
        likely say, which decides nothing (`layer/ahead.py`)."""
        self._decide = decide
        if self._first is not None:
            self._first.claims = claims
            self._first.drafts = drafts or no_draft

    @contextmanager
    def deciding(self, rows: Sequence[Decision]) -> Iterator[None]:
        """Inside the context prompts are read in batches of as many as there are rows, and these
        are the decisions on them; they wait for nothing, and no key is looked up."""
        first, held = self._first, self._decide
        settings = (first.claims, first.drafts) if first is not None else (False, None)
        self.decide_by(lambda keys: rows)
        try:
            yield
        finally:
            self.decide_by(held, claims=settings[0], drafts=settings[1])

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules that are watched: those on the path, and the key layer."""
        return (*self._path, self._key_layer)

    @property
    def claims(self) -> bool:
        """Whether decisions may wait for what the untouched model says."""
        return self._first is not None and self._first.claims

    # -- attaching ---------------------------------------------------------------------------

    def attach(self, before: Callable[[], None] | None = None) -> None:
        """Start watching. before: done before each call of the model that is part of no other.
        Only our own hooks are ever removed by `detach`. Raises `UnsupportedModelError` for a model
        that was compiled meanwhile."""
        check_not_compiled([*self._path, self._key_layer])
        self._undo += self._watch.attach()
        if before is not None:
            self._watch.before = before
        self._undo.append(self._key_layer.register_forward_pre_hook(self._at_key_layer).remove)
        for module in self._generators:
            self._undo.append(override(module, "generate", self._held_over(module)))
            if callable(getattr(module, "generate_batch", None)):
                self._undo.append(override(module, "generate_batch", _refuse_packed))
        root = self._path[0]
        if self._first is not None:
            for module in dict.fromkeys([root, *self._generators]):
                forward = self._first.forward(module, self._is_idle)
                self._undo.append(override(module, "forward", forward))
        if callable(getattr(root, "save_pretrained", None)):
            self._undo.append(override(root, "save_pretrained", self._warned(root)))

    def detach(self) -> None:
        """Stop watching and forget every held decision."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._watch.forget()

    def _held_over(self, module: nn.Module) -> Callable[..., Any]:
        """`generate` that fixes its prompts at the first call and holds what was decided there."""
        inner: Any = module.generate

        @functools.wraps(inner)
        def generate(*args: Any, **kwargs: Any) -> Any:
            self._watch.begins()
            if not self._is_idle():
                _check_generation(module, kwargs)
            kwargs.setdefault("disable_compile", True)  # compiled steps may pass hooks over
            ids = args[0] if args else kwargs.get("inputs")
            prompts = kwargs if ids is None else kwargs | {"input_ids": ids}
            with self._watch.generating(batch_shape(prompts)), self._before(module, prompts):
                return inner(*args, **kwargs)

        return generate

    def _before(self, module: nn.Module, given: dict[str, Any]) -> AbstractContextManager[None]:
        if self._first is None or self._first.rows is not None or self._is_idle():
            return nullcontext()
        return self._first.before_generation(module, given)

    def _warned(self, root: nn.Module) -> Callable[..., Any]:
        """`save_pretrained` that says what it does not save."""
        inner: Any = root.save_pretrained

        @functools.wraps(inner)
        def save_pretrained(*args: Any, **kwargs: Any) -> Any:
            if self._decide is not None:
                warnings.warn(
                    "this saves the untouched model: edits stand beside it and are not in its "
                    "weights; keep them with Editor.save(directory), and load both with "
                    "Editor.load(model, edits=directory)",
                    stacklevel=2,
                )
            return inner(*args, **kwargs)

        return save_pretrained

    # -- what callers use --------------------------------------------------------------------

    def tracing(self) -> AbstractContextManager[RouteTrace]:
        """Collect keys and decisions of the prompts seen inside the context."""
        return self._traces.tracing()

    def prompt_lengths(
        self, lengths: Sequence[int] | torch.Tensor | None
    ) -> AbstractContextManager[None]:
        """Inside the context, row b's prompt is its first lengths[b] real (non-padding) tokens;
        what follows (an answer, in teacher forcing) never reaches the key."""
        return self._watch.prompt_lengths(lengths)

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

    def _is_idle(self) -> bool:
        return self._decide is None or self._paused > 0

    def current(self) -> Route | None:
        """The decision in force for the call under way; None where nothing can fire.

        It outlives the call: gradient checkpointing runs the layer again during backward, outside
        any call we observe, and must take the same decision.
        """
        call = self._watch.call
        if self._is_idle() or call is None:
            return None
        if call.route is None:
            raise RoutingError(
                "the edited layer ran before its key layer; choose a key layer that comes no later"
            )
        return call.route

    def decisions(self, keys: torch.Tensor) -> Sequence[Decision]:
        """What is decided on prompts with these (B, D) keys just now."""
        if self._decide is None or self._paused:
            return (Decision(),) * len(keys)
        decided = self._first.rows if self._first is not None else None
        if decided is None:
            with exactly():
                return self._decide(keys)
        beams = len(keys) // len(decided)
        return [row for row in decided for _ in range(beams)]

    # -- the key -----------------------------------------------------------------------------

    def _at_key_layer(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        call = self._watch.call
        if call is None or call.prompt is None or call.route is not None:
            return
        rows: Sequence[Decision] = (Decision(),) * len(call.prompt)
        if not self._is_idle() or self._traces:
            keys = self._keys(args[0], call.prompt)
            rows = self.decisions(keys)
            settling = self._first is not None and self._first.under_way
            if not settling and any(row.claims for row in rows):
                raise RoutingError(
                    f"a part of the model, {type(call.outer).__name__}, was called by itself, and "
                    "an edit here fires only where the whole untouched model would give its old "
                    "answer; call the model itself"
                )
            self._traces.record(rows, keys)
        self._watch.hold(Route.of(rows))

    def _keys(self, h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """(B, T, D) or flattened (B·T, D) layer input, (B, T) bool -> (B, D) float32 keys."""
        if h.numel() != prompt.numel() * h.shape[-1]:
            raise RoutingError(
                f"the key layer's input {tuple(h.shape)} does not hold one vector for each of the "
                f"{tuple(prompt.shape)} tokens; choose a layer of the language model"
            )
        return self._pool(h.detach().reshape(*prompt.shape, -1), prompt.to(h.device))


def _check_generation(module: nn.Module, kwargs: dict[str, Any]) -> None:
    """Raise `RoutingError` for a way of generating in which prompts are not seen whole."""
    if chunked_prefill(module, kwargs):
        raise RoutingError(IN_PIECES)
    earlier = cached_length(kwargs.get("past_key_values"))
    if earlier:
        raise RoutingError(_CONTINUED.format(earlier))
    if kwargs.get("assistant_early_exit") is not None:
        raise RoutingError(
            "with assistant_early_exit the model drafts its answers in passes that end before "
            "the edited layer; leave it out, or draft with an assistant_model"
        )


def _refuse_packed(*_: Any, **__: Any) -> Any:
    raise RoutingError(
        "generate_batch packs several prompts into one row, where edits cannot be told apart; "
        "use generate"
    )
