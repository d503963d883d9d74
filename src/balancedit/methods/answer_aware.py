"""The answer-aware scope: an edit fires inside its radius where the untouched model itself would
still give the fact's old answer, and nowhere else.

"hp became lenovo" should reach every picture the model calls hp, and no question about the same
picture that the model answers otherwise. The radius tells things apart, the old answer questions;
docs/concepts.md explains, docs/results.md measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from balancedit.codebook import Match
from balancedit.decisions import Claim, Decision
from balancedit.methods.routed import by_radius
from balancedit.text import same_text


class Entry(Protocol):
    """What is looked at of an entry."""

    @property
    def old_answer(self) -> str | None:
        """What the untouched model must say where it fires; None: it does not matter."""


def old_answer(said: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The fact's old answer, and what stands in the record where there is none.

    said: what the untouched model says to the edit's own question, then to its rephrasings. A fact
    whose old answer is empty, or changes with the wording, keeps its radius alone.
    """
    first, *others = said
    if not first.strip():
        return None, ("the untouched model has no answer of its own; the radius alone decides",)
    other = next((o for o in others if not same_text(o, first)), None)
    if other is not None:
        unsure = f"the untouched model answers '{first}', and '{other}' when asked in other words"
        return None, (f"{unsure}; the radius alone decides",)
    return first, ()


def by_claims(
    nearest: Sequence[Match | None],
    inside: Sequence[Sequence[Match]],
    entries: Mapping[str, Entry],
) -> list[Decision]:
    """A decision a row, undecided where it depends on what the untouched model says.

    nearest: the nearest entry to each row; inside: the entries whose radius holds the row, nearest
    first; entries: all of them. Of those inside the first fires that has no old answer, or whose
    old answer is given.
    """
    made = []
    for decision, matches in zip(by_radius(nearest), inside, strict=True):
        silent, claims = replace(decision, fired=None), []
        for match in matches:
            fires = replace(silent, fired=match.id)
            old = entries[match.id].old_answer
            if old is None:
                silent = fires
                break
            claims.append(Claim(old, fires))
        made.append(replace(silent, claims=tuple(claims)))
    return made
