"""The projector: the vision tower's features become vectors that the language model reads.

Letters: B images, N image tokens, F features per token, D width of the language model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUTPUT_SCALE = 0.1  # root mean square of SmolLM2's token embeddings, where training starts


class PocketProjector(nn.Module):
    """Standardise, two linear layers with GELU, a place for each cell, and a learned scale."""

    def __init__(self, features: int, hidden: int, width: int, tokens: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.linear_1 = nn.Linear(features, hidden)
        self.linear_2 = nn.Linear(hidden, width)
        self.place = nn.Parameter(torch.zeros(tokens, width))
        self.scale = nn.Parameter(torch.full((width,), OUTPUT_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        """features: (B, N, F) -> (B, N, D)."""
        x = (features - self.mean) / self.spread
        x = self.linear_2(F.gelu(self.linear_1(x))) + self.place
        return F.rms_norm(x, x.shape[-1:], eps=1e-6) * self.scale
