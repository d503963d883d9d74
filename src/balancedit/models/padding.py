"""Where the padding of a batch of prompts stands, whatever a processor makes of it.

Letters: B = rows, T = tokens of the longest prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch


def padded_left(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same inputs with all padding before the prompt. Some processors put image tokens in front
    of padded text, and padding in the middle would shift the text's positions."""
    order = inputs["attention_mask"].argsort(dim=1, stable=True)
    return {k: v.gather(1, order) if v.shape == order.shape else v for k, v in inputs.items()}


def encoders_padded_right(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The token ids and masks meant for an encoder beside the language model (a Q-Former that reads
    the question), with their padding moved to the right: encoders count positions from the first
    token, padding or not, so theirs must not depend on the longest row."""
    moved = {}
    for name, mask in inputs.items():
        ids = name.replace("attention_mask", "input_ids")
        if name.endswith("_attention_mask") and ids in inputs:
            order = mask.argsort(dim=1, descending=True, stable=True)
            moved[name] = mask.gather(1, order)
            moved[ids] = inputs[ids].gather(1, order)
    return moved
