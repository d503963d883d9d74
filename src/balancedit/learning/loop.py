"""Fine-tuning an edit's tensors: the plain loop, a full forward and backward pass each step.

This is the reference (paper, Section 3.2 and Appendix F): slow, obvious, and what faster forms are
checked against. Only those tensors train (a weight of the edited layer, or what else the method
puts there), in float32 whatever the model's type, on the language-modelling loss of the new answer
and its end-of-sequence token given the prompt.

Letters: B = prompts, T = prompt tokens, A = answer tokens with the end token.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from balancedit.errors import EditFailedError
from balancedit.layer.edited import EditedLayer, Tensors
from balancedit.layer.prompts import evaluating, with_answers


@dataclass(frozen=True)
class Schedule:
    """How Adam goes. eps: its ε. stop: loss, in nats per answer token, below which an edit is done
    before the last step; None: never."""

    steps: int
    eps: float
    stop: float | None = None

    def goes_on(self, loss: float) -> bool:
        """Whether an edit with this loss is trained further."""
        return math.isfinite(loss) and not (self.stop is not None and loss < self.stop)


@dataclass(frozen=True)
class Start:
    """What one edit's training starts from. tensors: float32, as the layer applies them, where the
    layer runs; fixed: those applied beside them that do not train; lr: Adam step size."""

    tensors: Tensors
    lr: float
    fixed: Tensors = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """Trained tensors and the fixed ones beside them, float32, and the loss before every step and
    after the last, in nats per answer token."""

    tensors: dict[str, torch.Tensor]
    losses: tuple[float, ...]

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self.losses) - 1


def with_answer(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], answer: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Append one answer's token ids to every prompt; see `with_answers`."""
    return with_answers(model, inputs, [answer] * len(inputs["input_ids"]))


def answer_logits(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], answers: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """The logits that predict each answer's tokens: B × (tokens of the answer, vocabulary) float32.
    `inputs`: prompts and answers together, as `with_answers` makes them."""
    width = max(map(len, answers))
    last = last_logits(model, width + 1)
    logits = model(**inputs, **last, use_cache=False).logits[:, -width - 1 :]
    return [row[: len(answer)].float() for row, answer in zip(logits, answers, strict=True)]


def answer_loss(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], answer: Sequence[int]
) -> torch.Tensor:
    """Mean cross-entropy of the answer's tokens, nats. `inputs`: prompt and answer together, as
    `with_answer` makes them, one row."""
    (logits,) = answer_logits(model, inputs, [answer])
    return F.cross_entropy(logits, torch.tensor(list(answer), device=logits.device))


def last_logits(model: nn.Module, n: int) -> dict[str, int]:
    """What to call a model with so that its output head runs at the last n positions alone; nothing
    for a model that cannot skip it elsewhere."""
    parameters = inspect.signature(type(model).forward).parameters
    return {"logits_to_keep": n} if "logits_to_keep" in parameters else {}


def finetune(
    model: nn.Module,
    layer: EditedLayer,
    inputs: Mapping[str, torch.Tensor],
    answer: Sequence[int],
    start: Start,
    schedule: Schedule,
) -> Trained:
    """Train from `start` until one prompt is answered with `answer`, all of the model each step.

    inputs: one prompt's processor output, every tensor with a leading dimension of 1. Raises
    `EditFailedError` when the loss is not a number.
    """
    full = with_answer(model, inputs, answer)

    def losses(edits: Sequence[int], held: Sequence[Tensors]) -> torch.Tensor:
        with layer.training(*held):
            return answer_loss(model, full, answer)[None]

    with frozen(model):
        (trained,) = descend(losses, [start], schedule)
    if isinstance(trained, EditFailedError):
        raise trained
    return trained


def descend(
    losses: Callable[[Sequence[int], Sequence[Tensors]], torch.Tensor],
    starts: Sequence[Start],
    schedule: Schedule,
) -> list[Trained | EditFailedError]:
    """Adam on N edits at once that have nothing to do with one another.

    losses: (which edits, their tensors) -> the loss of each, nats per answer token, with gradients.
    An edit is asked for as long as it is trained: until the last step, until its loss is below
    `schedule.stop`, or until its loss is not a number, which is its error.
    """
    held = [
        {name: t.detach().clone().requires_grad_(True) for name, t in start.tensors.items()}
        for start in starts
    ]
    groups = [{"params": list(h.values()), "lr": s.lr} for h, s in zip(held, starts, strict=True)]
    optimiser = torch.optim.Adam(groups, eps=schedule.eps)
    curves: list[list[float]] = [[] for _ in starts]
    going = list(range(len(starts)))
    for step in range(schedule.steps + 1):
        last = step == schedule.steps
        with torch.set_grad_enabled(not last):
            loss = losses(going, [{**held[i], **starts[i].fixed} for i in going])
        values = loss.tolist()
        for i, value in zip(going, values, strict=True):
            curves[i].append(value)
        unfinished = [at for at, value in enumerate(values) if schedule.goes_on(value)]
        if last or not unfinished:
            break
        optimiser.zero_grad()
        loss[unfinished].sum().backward()
        done = set(going) - {going[at] for at in unfinished}
        for i in done:
            for tensor in held[i].values():
                tensor.grad = None  # zero, but Adam would go on by its momentum
        optimiser.step()
        going = [going[at] for at in unfinished]
    return [
        Trained({n: t.detach() for n, t in {**h, **s.fixed}.items()}, tuple(curve))
        if math.isfinite(curve[-1])
        else EditFailedError(
            f"the loss became {curve[-1]} while learning the answer; try a smaller step than "
            f"lr={s.lr:g}"
        )
        for h, s, curve in zip(held, starts, curves, strict=True)
    ]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside the context no parameter of the model takes a gradient and dropout is off; both are
    put back as they were."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in trainable:
            p.requires_grad_(False)
        with evaluating(model):
            yield
    finally:
        for p in trainable:
            p.requires_grad_(True)
