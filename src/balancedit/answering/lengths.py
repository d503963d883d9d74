"""How long answers may become: those that were taught as long as they were taught, the model's own
up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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


class RowEnds(StoppingCriteria):
    """Tells of every row that comes to an end of its own, with its token ids so far; ends none.

    ends: tokens that end an answer; lengths: those of its rows, which it is called after. A row
    that ends for its length is not told of.
    """

    def __init__(
        self, ends: Collection[int], lengths: OwnLengths, tell: Callable[[int, list[int]], None]
    ) -> None:
        self._ends, self._lengths, self._tell = ends, lengths, tell
        self._ids: dict[int, list[int]] | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        """Called once a token: (B,) bool, none."""
        made = input_ids[:, -1].tolist()
        if self._ids is None:
            self._ids = {row: [] for row in range(len(made))}
        for row, ids in [*self._ids.items()]:
            ids.append(made[row])
            ended = made[row] in self._ends
            if ended or len(ids) >= self._lengths.limits[row]:
                del self._ids[row]  # what comes behind only fills the row up
            if ended:
                self._tell(row, ids)
        return torch.zeros(len(made), dtype=torch.bool, device=input_ids.device)
