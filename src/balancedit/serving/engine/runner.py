"""What the inference thread runs, as it sees it: questions in, outcomes out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from balancedit.errors import BalanceditError
from balancedit.inputs.pairing import Row
from balancedit.serving.engine.protocol import Answered, Ask


@dataclass(eq=False)
class Question:
    """One question on its way. give: given the answer's text while it comes; ended: given the whole
    answer where it is there before others' of the batch; both in the inference thread. row: what
    the model is asked, once it is open. gone: nobody wants the rest any more; answered: since the
    whole was given early.
    """

    asked: Ask
    give: Callable[[str], None] | None = None
    ended: Callable[[Answered], None] | None = None
    row: Row | None = None
    gone: bool = False
    answered: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether its answer ends where nobody wanted the rest."""
        return self.gone and not self.answered


class Held(NamedTuple):
    """What a tenant has: the version of the edits, and how many are in force."""

    version: int
    edits: int


#: What comes of a question.
Outcome: TypeAlias = Answered | BalanceditError


class Runner(Protocol):
    """What answers; `editors.Editors`, or a stand-in for it. All but `opened`, `bucket`
    and `held` are called in one and the same thread."""

    def opened(self, asked: Ask) -> Row:
        """What the model is asked, its pictures decoded; called in threads of its own. Raises
        `InputError`."""
        ...

    def bucket(self, asked: Ask, row: Row) -> Hashable:
        """Questions of one bucket may share a batch."""
        ...

    def answer(self, questions: Sequence[Question]) -> Sequence[Outcome]:
        """Answer questions of one bucket, in order, all at one version of the tenant's edits. What
        it raises counts for all of them."""
        ...

    def work(self, tenant: str, work: Callable[[Any], Any]) -> Any:
        """Do something with a tenant's editor."""
        ...

    def held(self) -> Mapping[str, Held]:
        """What each tenant that was asked for so far has; any thread may ask."""
        ...
