"""Which facts are the same fact, so that a later answer replaces an earlier one.

Distance alone does not say it: how near a rephrasing lies, a caller decides who words it. So the
questions must be the same, or what the untouched model says to them.
"""

from __future__ import annotations

from dataclasses import dataclass

from balancedit.inputs.answers import ask_the_same, same_answer, same_question
from balancedit.layer.decisions import AnswerIds
from balancedit.methods.balancedit.measuring import MeasuredFact


@dataclass(frozen=True, slots=True)
class Rival:
    """What of an entry later edits and decisions are compared with."""

    questions: tuple[str, ...]  # its own, then the rephrasings
    target: str
    picture: str  # its `picture_hash`
    d_positive: float
    old_answer: str | None
    old_tokens: tuple[AnswerIds, ...]

    @property
    def question(self) -> str:
        """Its own question."""
        return self.questions[0]

    def gives_way(self, fact: MeasuredFact, *, near: bool) -> bool:
        """Whether the entry is retired when a fact is taught. near: each key lies as near to the
        other as a rephrasing does to its own.

        It is where the fact is the same and its answer another. The same fact: about the same
        picture, or one as near, the same is asked; or as near, the untouched model gives the same
        old answer. With the same answer it gives way to the very same picture and question alone:
        an edit of another picture, or to another question, reaches what is near its own key.
        """
        asked = fact.request
        here = self.picture == fact.picture
        if same_answer(self.target, asked.target):
            return near and here and same_question(self.question, asked.question)
        if (near or here) and ask_the_same(self.questions, fact.questions):
            return True
        old, mine = fact.old_answer.text, self.old_answer
        return near and old is not None and mine is not None and same_answer(old, mine)
