"""Asking a model, whatever it was called for, what it would answer to the same prompts.

Letters: B = rows, T = tokens of a call, P = tokens of its longest prompt.
"""

from __future__ import annotations

from typing import Any

import torch

ANSWER_TOKENS = 32  # of an answer at most, end token included; longer ones are cut alike
_OTHER_DECODING = (
    *("streamer", "assistant_model", "generation_config", "max_length", "min_length"),
    *("min_new_tokens", "num_return_sequences", "return_dict_in_generate", "temperature"),
    *("top_k", "top_p", "output_logits", "output_scores", "output_hidden_states"),
)
_NOT_OF_A_PROMPT = (
    *("labels", "past_key_values", "position_ids", "cache_position", "logits_to_keep"),
    *("use_cache", "return_dict", "output_attentions", "output_hidden_states"),
)


def greedily(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `generate` for a greedy answer of ordinary length, prompts as they are."""
    kept = {k: v for k, v in kwargs.items() if k not in _OTHER_DECODING}
    return kept | {"do_sample": False, "num_beams": 1, "max_new_tokens": ANSWER_TOKENS}


def prompts_alone(given: dict[str, Any], prompt: torch.Tensor) -> dict[str, Any]:
    """A forward call's arguments without the answers that follow its prompts, padded on the left.

    given: by name, ``input_ids`` (B, T) among them. prompt: (B, T) bool, which tokens are the
    prompts'. Every (B, T) tensor becomes (B, P); what else there is stays.
    """
    order = prompt.long().argsort(dim=1, stable=True)[:, -int(prompt.sum(1).max()) :]
    shape = given["input_ids"].shape
    kept = {k: v for k, v in given.items() if k not in _NOT_OF_A_PROMPT}
    cut = {
        k: v.gather(1, order)
        for k, v in kept.items()
        if isinstance(v, torch.Tensor) and v.shape == shape
    }
    return kept | cut | {"attention_mask": prompt.to(given["input_ids"].dtype).gather(1, order)}
