"""How long answers may become: those that were taught as long as they were taught, the model's own
up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from balancedit.inputs.text import MAX_ANSWER

#: Tokens of any answer that can be taught: at most a token a byte, four bytes a character, and a
#: few around it.
LONGEST = 4 * MAX_ANSWER + 8


class OwnLengths(StoppingCriteria):
    """Ends every row of a generation at a length of its own.

    find: gives the tokens that each row may have, once the first token was made and with it is
    known which edit each row goes through.
    """

    def __init__(self, find: Callable[[], Sequence[int]]) -> None:
        self._find = find
        self._limits: Sequence[int] | None = None
        self._made = 0

    @property
    def limits(self) -> Sequence[int]:
        """Tokens that each row may have."""
        if self._limits is None:
            self._limits = self._find()
        return self._limits

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        """Called once a token: (rows, each as often as it has beams) bool, whether it is done."""
        self._made += 1
        beams = len(input_ids) // len(self.limits)
        done = [self._made >= limit for limit in self.limits for _ in range(beams)]
        return torch.tensor(done, device=input_ids.device)
