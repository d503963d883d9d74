"""A call's prompts, and nothing else of the call: what the untouched model is asked with, whatever
the model was called for.

Letters: B = rows, T = tokens of a call, P = tokens of its longest prompt, A = tokens of the longest
answer, D = width of an embedding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig
from transformers.utils import ModelOutput

from balancedit.layer.calls import override

#: Of an answer of the model's own at most, end token included; longer ones are cut alike.
ANSWER_TOKENS = 32

#: What a prompt consists of, whatever the model; a processor's own inputs come beside it.
#: `generate` encodes pictures before its first pass and hands them on as ``mm_encoder_outputs``.
PROMPT_INPUTS = frozenset(
    {
        *("input_ids", "inputs_embeds", "attention_mask", "position_ids"),
        *("token_type_ids", "mm_token_type_ids", "mm_encoder_outputs"),
    }
)


def prompts_alone(
    given: Mapping[str, Any], prompt: torch.Tensor, inputs: Collection[str]
) -> dict[str, Any]:
    """A forward call's prompts without the answers that follow them, padded on the left.

    given: the call's arguments by name, ``input_ids`` (B, T) or ``inputs_embeds`` (B, T, D) among
    them. prompt: (B, T) bool, which tokens are the prompts'. inputs: names of what a processor
    makes; nothing else is kept. Every (B, T, …) tensor becomes (B, P, …).
    """
    order = prompt.long().argsort(dim=1, stable=True)[:, -int(prompt.sum(1).max()) :]
    made: dict[str, Any] = {}
    for name in {*PROMPT_INPUTS, *inputs} & given.keys():
        value = given[name]
        if name == "position_ids":  # (B, T), or (N, B, T) where a position has several parts
            whole = value.expand(*value.shape[:-2], *prompt.shape)
            made[name] = whole.gather(-1, order.expand(*value.shape[:-2], *order.shape))
        elif isinstance(value, torch.Tensor) and value.shape[:2] == prompt.shape:
            made[name] = value[torch.arange(len(order), device=order.device)[:, None], order]
        else:
            made[name] = value
    return made | {"attention_mask": prompt.long().gather(1, order)}


def with_answers(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], answers: Sequence[Sequence[int]]
) -> dict[str, torch.Tensor]:
    """Append an answer's token ids to each of B prompts, shorter ones padded behind with masked
    zeros.

    The mask and token types grow by A as the model's own `generate` grows them: some models attend
    both ways over a prompt and mark by its type where the answer begins.
    """
    longest = max(len(answer) for answer in answers)
    tail = padded(answers, inputs["attention_mask"].device)
    full = grown(model, inputs, longest)
    mask = full["attention_mask"].clone()
    for row, answer in enumerate(answers):
        mask[row, mask.shape[1] - longest + len(answer) :] = 0
    full["attention_mask"] = mask
    if "input_ids" in inputs:
        full["input_ids"] = torch.cat([inputs["input_ids"], tail.to(inputs["input_ids"])], dim=1)
    else:
        embed: Any = model.get_input_embeddings()  # type: ignore[operator]
        prompts = inputs["inputs_embeds"]
        full["inputs_embeds"] = torch.cat([prompts, embed(tail).to(prompts)], dim=1)
    return full


def padded(answers: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Token ids of B answers as (B, A), zeros behind the shorter ones."""
    longest = max(map(len, answers))
    return torch.tensor([[*a, *[0] * (longest - len(a))] for a in answers], device=device)


def grown(model: nn.Module, inputs: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """What describes a prompt's tokens (mask, types, positions), longer by so many generated ones,
    as the model's own `generate` makes it; the rest as it is."""
    grow: Any = model._update_model_kwargs_for_generation
    made = dict(inputs)
    for _ in range(tokens):
        made = grow(ModelOutput(), made, is_encoder_decoder=False)
    return made


@contextmanager
def decoding_plainly(model: nn.Module) -> Iterator[None]:
    """Inside the context a checkpoint's own ways of decoding (penalties, sampling, forbidden
    tokens) are set aside: `generate` takes the likeliest token unless it is told otherwise. Which
    tokens end an answer stays."""
    with ExitStack() as undo:
        for module in model.modules():
            own = vars(module).get("generation_config")
            if isinstance(own, GenerationConfig):
                plain = GenerationConfig(
                    bos_token_id=own.bos_token_id,
                    eos_token_id=own.eos_token_id,
                    pad_token_id=own.pad_token_id,
                )
                undo.callback(override(module, "generation_config", plain))
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside the context dropout and the like are off; every module's mode is given back."""
    training = [module for module in model.modules() if module.training]
    try:
        if training:
            model.eval()
        yield
    finally:
        for module in training:
            module.training = True
