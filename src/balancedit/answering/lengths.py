"""How long answers may become: those that were taught as long as they were taught, the model's own
up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from balancedit.errors import PromptError
from balancedit.inputs.pairing import Row
from balancedit.inputs.text import MAX_ANSWER
from balancedit.layer.prompts import ANSWER_TOKENS
from balancedit.models.loading import LoadedModel

#: Tokens of any answer that can be taught: at most a token a byte, four bytes a character, and a
#: few around it.
LONGEST = 4 * MAX_ANSWER + 8


def most_tokens(
    loaded: LoadedModel,
    rows: Sequence[Row],
    padded: int,
    own: Sequence[int],
    new: Sequence[int | None],
) -> list[int]:
    """How many tokens may be made behind each of a batch's prompts, so long with its padding. own:
    each prompt's own tokens; new: how many are asked for, None: as many as an answer needs. Raises
    `PromptError` for a row that is too long for the model with them, or too long in this company.
    """
    limit = loaded.context_length
    if limit is None:
        return [LONGEST if n is None else n for n in new]
    wanted = [ANSWER_TOKENS if n is None else n for n in new]
    too_many = [row for row, n in enumerate(wanted) if padded + n > limit]
    if too_many:
        row = next((i for i in too_many if own[i] + wanted[i] > limit), too_many[0])
        what = "question" if isinstance(rows[row][1], str) else "conversation"
        raise PromptError(
            f"the prompt takes {own[row]} tokens; '{loaded.name}' holds {limit}, {wanted[row]} of "
            f"them for the answer: shorten the {what}",
            row,
        )
    return [min(LONGEST, limit - padded) if n is None else n for n in new]


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
