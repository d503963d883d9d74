"""The key of a prompt: its tokens' embeddings at one layer's input, pooled to one vector.

Letters: B = rows, T = tokens, D = width of the layer's input.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from balancedit.errors import EditFailedError

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def mean_key(h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Mean over the prompt's tokens (paper, Section 3.2). h: (B, T, D), prompt: (B, T) bool."""
    weight = prompt.to(torch.float32)[..., None]
    return (h.to(torch.float32) * weight).sum(1) / weight.sum(1)


def last_position(prompt: torch.Tensor) -> torch.Tensor:
    """Where each row's last prompt token is. prompt: (B, T) bool -> (B,)."""
    positions = torch.arange(prompt.shape[1], device=prompt.device)
    return (prompt * positions).argmax(dim=1)


def last_key(h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """The last prompt token. h: (B, T, D), prompt: (B, T) bool -> (B, D)."""
    rows = torch.arange(len(h), device=h.device)
    return h[rows, last_position(prompt)].to(torch.float32)


def both_key(h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Mean and last token side by side, so that near means near in both: the mean tells pictures
    apart, the last token questions. h: (B, T, D), prompt: (B, T) bool -> (B, 2D)."""
    return torch.cat([MEAN_WEIGHT * mean_key(h, prompt), last_key(h, prompt)], dim=-1)


#: What the mean is multiplied by beside the last token: an average varies less than one token does.
#: Chosen by studies/choose_scope.py (docs/results.md).
MEAN_WEIGHT = 4.0

#: The types a codebook's keys may be kept in.
KEY_TYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


def kept_as(key: torch.Tensor, key_type: str) -> torch.Tensor:
    """A key (D,), float32, with the values that `key_type` can hold; to be called before anything
    is measured from it. Half precision moves a key by at most 2^-11 of its length (and 2^-25 √D
    where its numbers are tiny), and every distance to it by no more. Raises `EditFailedError` for a
    key whose numbers it cannot hold at all."""
    kept = key.to(KEY_TYPES[key_type]).to(torch.float32)
    if bool(torch.isfinite(key).all()) and not bool(torch.isfinite(kept).all()):
        largest = key.abs().max().item()
        raise EditFailedError(
            f"the key holds {largest:.4g}, half precision ends at 65504; use key_type='float32'"
        )
    return kept


POOLS: dict[str, Pool] = {"mean": mean_key, "last": last_key, "both": both_key}
