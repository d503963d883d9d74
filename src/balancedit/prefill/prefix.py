"""Running what comes before the edited layer once, where the same prompt is run many times.

While an edit is learned, the same prompt passes through the model at every step; when a prompt is
asked before an edit and after it, it is read twice. Each time nothing before the edited layer's
block has changed: vision tower, projector, embeddings and the blocks below. `Prefix` remembers what
that block receives, and the keys and values that the blocks below left in the cache, and starts
later passes there. What the block receives is the very same tensor, so that nothing that follows
differs by a bit.

This knows no architecture: the blocks are the numbered list that the layer's path goes through, and
whatever else runs before the layer's own block is found by watching the first pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from balancedit.layer.calls import override
from balancedit.layer.compiled import is_compiled
from balancedit.layer.paths import enclosing_stack
from balancedit.prefill.passes import (
    Noted,
    RecordedPass,
    blank,
    cache_of,
    cached_below,
    copied,
)

LIMIT = 2**30  # bytes of prompts remembered a model


class Prefix:
    """What runs before the block that holds the layer at `path`, a dotted path in `model`.

    limit: bytes of prompts remembered; those asked longest ago are forgotten beyond it.
    """

    def __init__(self, model: nn.Module, path: str, limit: int = LIMIT) -> None:
        self._model = model
        blocks, at = enclosing_stack(model, path)
        self._below, self._block = blocks[:at], blocks[at] if blocks else None
        self._beside = _beside(model, path)
        self._limit = limit
        self._fit: dict[str, bool] = {}
        self._prompts: OrderedDict[Hashable, RecordedPass] | None = None

    def covers(self, path: str) -> bool:
        """Whether the module at this dotted path runs before the block."""
        module = self._model.get_submodule(path)
        return any(module is m for outer in (*self._beside, *self._below) for m in outer.modules())

    @torch.no_grad()
    def fits(self, what: str, run: Callable[[], torch.Tensor]) -> bool:
        """Whether starting later passes at the block gives what full ones give; found out once for
        each kind of run, which `what` names.

        run: the run in question, the same every time. False where blocks share more than the
        hidden state and an ordinary cache, and for compiled models, whose modules cannot be stood
        in for.
        """
        if what not in self._fit:
            self._fit[what] = self._block is not None and self._agrees(run)
        return self._fit[what]

    def _agrees(self, run: Callable[[], torch.Tensor]) -> bool:
        if any(is_compiled(module) for module in self._model.modules()):
            return False
        first = RecordedPass()
        try:
            with self._recorded(first):
                full = run()
            if not first.complete:
                return False
            with self._played(first):
                again = run()
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            return False
        return torch.allclose(again.float(), full.float(), 1e-4, 1e-4)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the context every forward pass of the model must bring the same inputs; all but
        the first start at the edited layer's block. For models that it `fits`."""
        first = RecordedPass()
        with self._recorded(first), self._played(first, every=True):
            yield

    @property
    def starts_late(self) -> bool:
        """Whether the second of two passes just now starts at the edited layer's block: where the
        model is known to fit "generation", and no gradients are wanted."""
        return not torch.is_grad_enabled() and bool(self._fit.get("generation"))

    @contextmanager
    def first_of_two(self) -> Iterator[Callable[[], AbstractContextManager[None]]]:
        """Around a forward pass that may have to be made again, by the same inputs. Gives what to
        make the second pass in, and any later one: it starts at the edited layer's block where
        it `starts_late`, else from the beginning."""
        if not self.starts_late:
            yield nullcontext
            return
        first = RecordedPass()
        with self._recorded(first):
            yield lambda: self._played(first) if first.complete else nullcontext()

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside the context prompts are remembered, and read once however often they are asked."""
        if self._prompts is not None:
            yield
            return
        self._prompts = OrderedDict()
        try:
            yield
        finally:
            self._prompts = None

    @property
    def is_remembering(self) -> bool:
        """Whether a `remembering` context is open."""
        return self._prompts is not None

    def inputs(self, prompt: Hashable) -> Mapping[str, torch.Tensor] | None:
        """What the model was called with for a batch of prompts that is remembered."""
        known = self._remembered(prompt)
        return known.inputs if known is not None else None

    def noted(self, prompt: Hashable, way: Hashable) -> Noted | None:
        """What `note` was told about a batch that is remembered, for this way of making keys."""
        known = self._remembered(prompt)
        return known.noted.get(way) if known is not None else None

    def note(self, prompt: Hashable, way: Hashable, noted: Noted) -> None:
        """Remember more about a batch of prompts. way: names how its keys are made, since several
        methods ask one model, and a key says nothing to those that make others."""
        known = self._remembered(prompt)
        if known is not None:
            known.noted[way] = noted

    def _remembered(self, prompt: Hashable) -> RecordedPass | None:
        return self._prompts.get(prompt) if self._prompts is not None else None

    @contextmanager
    def asked(self, prompt: Hashable, inputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Around the generation of one batch of prompts, while `remembering`; `prompt` names the
        batch, whatever its answers; inputs: what the model is called with. For models that it
        `fits`."""
        assert self._prompts is not None
        known = self._prompts.get(prompt)
        if known is not None:
            self._prompts.move_to_end(prompt)
            with self._played(known):
                yield
            return
        first = RecordedPass(inputs=inputs)
        with self._recorded(first):
            yield
        if not first.complete:
            return
        self._prompts[prompt] = first
        while sum(p.size for p in self._prompts.values()) > self._limit:
            self._prompts.popitem(last=False)

    # -- the two ways ------------------------------------------------------------------------

    @contextmanager
    def _recorded(self, into: RecordedPass) -> Iterator[None]:
        """Inside the context the first pass is written down."""

        def record(module: nn.Module, args: Any, output: Any) -> None:
            if not into.complete and not into.unfit:
                into.outputs.setdefault(module, []).append(copied(output))

        def reach(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not into.complete and not into.unfit:
                below = cached_below(args, kwargs, len(self._below))
                into.unfit = below is None
                into.complete, into.cached = not into.unfit, below or []

        assert self._block is not None
        with ExitStack() as undo:
            undo.callback(self._block.register_forward_pre_hook(reach, with_kwargs=True).remove)
            for module in [*self._beside, *self._below[-1:]]:
                undo.callback(module.register_forward_hook(record).remove)
            yield

    @contextmanager
    def _played(self, known: RecordedPass, *, every: bool = False) -> Iterator[None]:
        """Inside the context the first pass starts at the edited layer's block; with `every`, all
        forward passes of the model do, from when `known` is complete."""
        playing = not every
        played: dict[nn.Module, int] = {}

        def begin(*_: Any) -> None:
            nonlocal playing
            playing = known.complete
            played.clear()

        def reach(*_: Any) -> None:
            nonlocal playing
            playing = False

        def beside(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                at, outputs = played.get(module, 0), known.outputs.get(module, [])
                if not playing or at >= len(outputs):
                    return forward(*args, **kwargs)
                played[module] = at + 1
                return copied(outputs[at])

            return run

        def below(index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                if not playing:
                    return forward(*args, **kwargs)
                cache = cache_of(args, kwargs)
                if cache is not None:
                    cache.update(*known.cached[index], index)
                output = known.outputs[self._below[-1]][0]
                # What the blocks before the last one say is never looked at.
                return copied(output) if index == len(self._below) - 1 else blank(output)

            return run

        assert self._block is not None
        with ExitStack() as undo:
            if every:
                undo.callback(self._model.register_forward_pre_hook(begin).remove)
            undo.callback(self._block.register_forward_pre_hook(reach).remove)
            for module in self._beside:
                undo.callback(override(module, "forward", beside(module, module.forward)))
            for i, module in enumerate(self._below):
                undo.callback(override(module, "forward", below(i, module.forward)))
            yield


def _beside(model: nn.Module, path: str) -> list[nn.Module]:
    """Modules off the path: the children of every module on it down to the list of blocks."""
    names = path.split(".")
    modules: list[nn.Module] = []
    for at in range(len(names)):
        module = model.get_submodule(".".join(names[:at]))
        if isinstance(module, nn.ModuleList):
            break
        modules += [child for name, child in module.named_children() if name != names[at]]
    return [m for m in modules if not isinstance(m, (nn.ModuleList, nn.ModuleDict))]
