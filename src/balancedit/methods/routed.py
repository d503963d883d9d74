"""What a method has that watches the prompts of one layer and changes its output: the hooks, the
prompts' keys, the training loop. How facts are learned and held is each method's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn

from balancedit.answering.failures import explained
from balancedit.answering.generate import resumes
from balancedit.codebook.pooling import Pool
from balancedit.errors import InputError
from balancedit.inputs.pairing import Asked, Row
from balancedit.inputs.pictures import Picture
from balancedit.layer.deciding import Drafts
from balancedit.layer.decisions import Decision, RouteTrace
from balancedit.layer.edited import EditedLayer, Transformation
from balancedit.layer.paths import ancestors, edited_path, resolve_layer
from balancedit.layer.prompts import with_answers
from balancedit.layer.router import Router
from balancedit.learning.answer_rows import Recorded
from balancedit.learning.loop import (
    Schedule,
    Start,
    Trained,
    answer_logits,
    finetune,
    frozen,
    last_logits,
)
from balancedit.models.loading import LoadedModel
from balancedit.types import BATCH_SIZE

_BYTES = 2**30  # of logits in one pass

Decide = Callable[[torch.Tensor], Sequence[Decision]]


class Prompt(NamedTuple):
    """A prompt to be read. learned: token ids of an answer whose states at the edited layer are
    wanted; expected: token ids of one that the model may give of itself. One of them at most."""

    image: Picture | None
    question: Asked
    learned: Sequence[int] = ()
    expected: Sequence[int] = ()


class Reading(NamedTuple):
    """What reading prompts brought. keys: (prompts, D) float32, which no answer reaches; states: of
    the answers to be learned; gives: whether the model answers each prompt with what is expected of
    it, token for token; False where nothing is."""

    keys: torch.Tensor
    states: Recorded
    gives: list[bool]


class RoutedLayer:
    """What a method has that watches the prompts of one layer and changes its output: the router,
    the edited layer beside it, and reading and training through them.

    pool: how a prompt's tokens become its key. key_layer: dotted path of the layer whose input
    makes the key; None: the edited one. apply: what an edit's tensors do to the edited layer's
    output; a full weight unless given. `reads_once`: nothing that runs before the edited layer's
    block is looked at, so that prompts may be read that far once (`prefill/prefix.py`). Letters:
    D = width of the key layer's input.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        pool: Pool,
        key_layer: str | None = None,
        apply: Transformation | None = None,
    ) -> None:
        layer = resolve_layer(loaded.model, loaded.layer)
        key_layer = edited_path(loaded.model, key_layer) if key_layer else None
        watched = resolve_layer(loaded.model, key_layer) if key_layer else layer
        self.reads_once = not (key_layer and loaded.prefix.covers(key_layer))
        self.loaded = loaded
        self.router = Router(
            ancestors(loaded.model, loaded.layer),
            watched,
            pool,
            old_answers=loaded.old_answers,
            prefix=loaded.prefix if self.reads_once else None,
        )
        self.layer = EditedLayer(layer, self.router, apply)
        self.when_detached: list[Callable[[], None]] = []  # called when the model is given back

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The model's modules that hooks are put on; one editor at a time has them."""
        return (*self.router.modules, self.layer.layer)

    def attach(self, before: Callable[[], None] | None = None) -> None:
        """Make the model answer with the edits in force. before: done before each call of the
        model. Undone exactly by `detach`."""
        self.router.attach(before)
        self.layer.attach()
        if self.router.claims:  # found out once a model: whether second passes may start late
            resumes(self.loaded, self)

    def detach(self) -> None:
        """Give the model back as it was: no hook of ours is left, and no module was replaced."""
        self.layer.detach()
        self.router.detach()
        for forget in self.when_detached:
            forget()

    def decide_by(
        self, decide: Decide | None, *, claims: bool = False, drafts: Drafts | None = None
    ) -> None:
        """How prompts are routed from now on; None while no edit is held. claims: whether a
        decision may wait for what the untouched model says; drafts: what an edit that fires will
        likely say, which decides nothing."""
        self.router.decide_by(decide, claims=claims, drafts=drafts)

    def tracing(self) -> AbstractContextManager[RouteTrace]:
        """Collect the routing decisions of the prompts seen inside the context."""
        return self.router.tracing()

    def bypass(self) -> AbstractContextManager[None]:
        """Inside the context the model answers as if no edit were held."""
        return self.router.paused()

    def deciding(self, rows: Sequence[Decision]) -> AbstractContextManager[None]:
        """Inside the context prompts are read in batches of as many as there are rows, and these
        are the decisions on them."""
        return self.router.deciding(rows)

    def decisions(self, keys: torch.Tensor) -> Sequence[Decision] | None:
        """What is decided just now on prompts with these keys, (B, D) as `tracing` showed them;
        None where that depends on more."""
        return self.router.decisions(keys)

    def prompt_lengths(self, lengths: Sequence[int] | torch.Tensor) -> AbstractContextManager[None]:
        """Inside the context, row b's prompt is its first lengths[b] real tokens, and only they
        make its key."""
        return self.router.prompt_lengths(lengths)

    def answer_tokens(self, targets: Iterable[str]) -> int:
        """Tokens of the longest of these answers, end token included."""
        prompter, eos = self.loaded.prompter, self.loaded.eos
        return max((len(prompter.answer_ids(target, eos)) for target in targets), default=0)

    @torch.no_grad()
    def prefill_keys(
        self, images: Sequence[Picture | None], questions: Sequence[Asked]
    ) -> torch.Tensor:
        """(prompts, D) float32 keys from one batched forward pass, while attached; nothing fires
        in it."""
        inputs = self.loaded.to_device(self.loaded.prompter.inputs(images, questions))
        model = self.loaded.model
        with self.bypass(), self.router.tracing() as trace, explained(model, len(questions)):
            model(**inputs, **last_logits(model, 1), use_cache=False)
        return trace.stacked_keys()

    def read(self, prompts: Sequence[Prompt]) -> Reading:
        """Read prompts, while attached, in as few passes as memory allows; nothing fires."""
        parts = [self._pass(some) for some in self._passes(prompts)]
        states = Recorded()
        for part in parts:
            states.extend(part.states)
        gives = [one for part in parts for one in part.gives]
        return Reading(torch.cat([part.keys for part in parts]), states, gives)

    def _passes(self, prompts: Sequence[Prompt]) -> Iterator[Sequence[Prompt]]:
        """As many prompts at a time, in order, as the logits behind them have memory for: all of a
        pass are as long as its longest answer."""
        config: Any = self.loaded.model.config
        most = _BYTES // (8 * config.get_text_config().vocab_size)  # twice, in float32
        start, longest = 0, 0
        for at, prompt in enumerate(prompts):
            longest = max(longest, 1 + len(prompt.learned or prompt.expected))
            if at > start and (at - start == BATCH_SIZE or (at - start + 1) * longest > most):
                yield prompts[start:at]
                start, longest = at, 1 + len(prompt.learned or prompt.expected)
        yield prompts[start:]

    @torch.no_grad()
    def _pass(self, prompts: Sequence[Prompt]) -> Reading:
        """One batched forward pass over prompts with answers behind them, while attached; nothing
        fires in it."""
        model, prompter = self.loaded.model, self.loaded.prompter
        asked = prompter.inputs([p.image for p in prompts], [p.question for p in prompts])
        behind = [p.learned or p.expected for p in prompts]
        inputs = with_answers(model, self.loaded.to_device(asked), behind)
        gives = [False] * len(prompts)
        with (
            self.bypass(),
            self.prompt_lengths(asked["attention_mask"].sum(1)),
            self.router.tracing() as trace,
            self.loaded.answers.recorded(
                [p.learned for p in prompts], max(map(len, behind))
            ) as states,
            explained(model, len(prompts)),
        ):
            if any(p.expected for p in prompts):
                logits = answer_logits(model, inputs, behind)
                gives = [
                    bool(p.expected) and row.argmax(-1).tolist() == list(p.expected)
                    for p, row in zip(prompts, logits, strict=True)
                ]
            else:
                model(**inputs, **last_logits(model, 1), use_cache=False)
        return Reading(trace.stacked_keys(), states, gives)

    def has_short_way(self, row: Row, answer: Sequence[int]) -> bool:
        """Whether answers may go the short way (`learning/answer_path.py`); found out once a
        model, with this row, while attached."""
        model, prompter = self.loaded.model, self.loaded.prompter
        answers = [answer, answer[-1:]]  # of unlike lengths
        prompts = prompter.inputs([row[0]] * 2, [row[1]] * 2)
        inputs = with_answers(model, self.loaded.to_device(prompts), answers)
        with self.bypass(), frozen(model), explained(model, 2):
            return self.loaded.answers.fits(inputs, answers)

    def finetune(
        self,
        image: Picture,
        question: str,
        target: str,
        start: Start,
        schedule: Schedule,
    ) -> Trained:
        """Train from `start` until the model answers `target`; what comes before the edited layer's
        block runs once. Raises `EditFailedError` when the loss is not a number."""
        prompter = self.loaded.prompter
        answer = prompter.answer_ids(target, self.loaded.eos)
        inputs = self.loaded.to_device(prompter.inputs([image], [question]))
        model = self.loaded.model
        with self.bypass(), explained(model, 1), self.same_prompt(inputs):
            return finetune(model, self.layer, inputs, answer, start, schedule)

    def same_prompt(self, inputs: Mapping[str, torch.Tensor]) -> AbstractContextManager[None]:
        """For a loop over one prompt: what comes before the edited layer's block runs once, where
        the model allows it."""
        model, prefix = self.loaded.model, self.loaded.prefix
        with frozen(model):
            fits = prefix.fits("training", lambda: model(**inputs, use_cache=False).logits)
        return prefix.held() if fits else nullcontext()


def check_adam(steps: int, lr: float | None, eps: float) -> None:
    """Raise `InputError` for settings that Adam cannot run with; lr None: the model's own."""
    if steps < 1:
        raise InputError(f"steps is {steps}; at least 1 is needed")
    if lr is not None and not 0 < lr < float("inf"):
        raise InputError(f"lr is {lr}; a step size is a positive number")
    if not 0 < eps < float("inf"):
        raise InputError(f"eps is {eps}; Adam's ε is a positive number")
