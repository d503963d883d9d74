"""What answering wants of an editing method: as much of it as decides and applies, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from balancedit.inputs.pairing import Row
from balancedit.layer.decisions import Decision, RouteTrace


class Routing(Protocol):
    """Which edit acts on which prompt; `methods.routed.RoutedLayer` has these members among
    others. `reads_once`: nothing that runs before the edited layer's block is looked at."""

    reads_once: bool

    def tracing(self) -> AbstractContextManager[RouteTrace]:
        """Collect the routing decisions of the prompts seen inside the context."""

    def bypass(self) -> AbstractContextManager[None]:
        """Inside the context the model answers as if no edit were held."""

    def decisions(self, keys: torch.Tensor) -> Sequence[Decision] | None:
        """What is decided on prompts with these (B, D) keys; None where that depends on more."""

    def prompt_lengths(self, lengths: Sequence[int] | torch.Tensor) -> AbstractContextManager[None]:
        """Inside the context, row b's prompt is its first lengths[b] real tokens."""


class Answers(Protocol):
    """The edits in force, as a model is asked through them; `methods.protocol.Method` has these
    members among others."""

    @property
    def name(self) -> str:
        """The method's."""

    @property
    def routing(self) -> Routing:
        """How prompts find their edits."""

    def answer_tokens(self, edit_id: str) -> int:
        """Tokens, end token included, that an answer may need where this edit fires."""

    def binding(self) -> dict[str, str]:
        """What its keys are made of: layer, key …"""

    def worded(self, rows: Sequence[Row]) -> Sequence[Row]:
        """What the model is asked instead of (image, question)."""
