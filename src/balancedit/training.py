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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils import ModelOutput

from balancedit.adapter import EditedLayer, Tensors
from balancedit.errors import EditFailedError


@dataclass(frozen=True)
class Trained:
    """Fine-tuned tensors, float32, and the loss before every step and after the last, in nats per
    answer token."""

    tensors: dict[str, torch.Tensor]
    losses: tuple[float, ...]


def with_answer(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], answer: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Append one answer's token ids to every prompt; see `with_answers`."""
    return with_answers(model, inputs, [answer] * len(inputs["input_ids"]))


def with_answers(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], answers: Sequence[Sequence[int]]
) -> dict[str, torch.Tensor]:
    """Append an answer's token ids to each of B prompts, shorter ones padded behind with masked
    zeros.

    The mask and token types grow by A as the model's own `generate` grows them: some models attend
    both ways over a prompt and mark by its type where the answer begins.
    """
    ids = inputs["input_ids"]
    longest = max(len(answer) for answer in answers)
    padded = [[*answer, *[0] * (longest - len(answer))] for answer in answers]
    tail = torch.tensor(padded, device=ids.device, dtype=ids.dtype)
    grow: Any = model._update_model_kwargs_for_generation
    grown = dict(inputs)
    for _ in range(longest):
        grown = grow(ModelOutput(), grown, is_encoder_decoder=False)
    mask = grown["attention_mask"].clone()
    for row, answer in enumerate(answers):
        mask[row, mask.shape[1] - longest + len(answer) :] = 0
    return grown | {"input_ids": torch.cat([ids, tail], dim=1), "attention_mask": mask}


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
    start: Tensors,
    *,
    steps: int,
    lr: float,
    eps: float,
) -> Trained:
    """Fine-tune a copy of `start`, tensors as `layer` applies them, with Adam until one prompt is
    answered with `answer`.

    inputs: one prompt's processor output, every tensor with a leading dimension of 1. Raises
    `EditFailedError` when the loss is not a number.
    """
    full = with_answer(model, inputs, answer)
    tensors = {name: t.detach().clone().requires_grad_(True) for name, t in start.items()}
    optimiser = torch.optim.Adam(tensors.values(), lr=lr, eps=eps)
    losses = []
    with frozen(model), torch.enable_grad(), layer.training(tensors):
        for _ in range(steps):
            optimiser.zero_grad()
            loss = answer_loss(model, full, answer)
            losses.append(_finite(loss.item(), lr))
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            losses.append(_finite(answer_loss(model, full, answer).item(), lr))
    return Trained({name: t.detach() for name, t in tensors.items()}, tuple(losses))


def _finite(loss: float, lr: float) -> float:
    if not math.isfinite(loss):
        raise EditFailedError(
            f"the loss became {loss} while learning the answer; try a smaller step than lr={lr:g}"
        )
    return loss


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside the context no parameter of the model takes a gradient and dropout is off; both are
    put back as they were."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    modes = [(m, m.training) for m in model.modules() if m.training]
    try:
        for p in trainable:
            p.requires_grad_(False)
        model.eval()
        yield
    finally:
        for p in trainable:
            p.requires_grad_(True)
        for module, mode in modes:
            module.training = mode
