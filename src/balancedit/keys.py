"""The key of a prompt: its tokens' embeddings at one layer's input, pooled to one vector.

Letters: B = rows, T = tokens, D = width of the layer's input.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

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
#: Chosen by benchmarks/choose_scope.py (docs/results.md).
MEAN_WEIGHT = 4.0

POOLS: dict[str, Pool] = {"mean": mean_key, "last": last_key, "both": both_key}
