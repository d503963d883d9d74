"""The answer-aware scope: an edit fires inside its radius where the untouched model itself would
still give the fact's old answer, and nowhere else.

"hp became lenovo" should reach every picture the model calls hp, and no question about the same
picture that the model answers otherwise. The radius tells things apart, the old answer questions;
docs/concepts.md explains, docs/results.md measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from balancedit.codebook.codebook import Match
from balancedit.inputs.answers import same_answer, written_otherwise
from balancedit.layer.decisions import AnswerIds, Claim, Decision, Said

_SHORT = 16  # tokens of an old answer, at most, that counts in forms which were not heard


class Entry(Protocol):
    """What is looked at of an entry."""

    @property
    def old_tokens(self) -> tuple[AnswerIds, ...]:
        """What the untouched model must say where it fires, in each form it says it in; none: it
        does not matter."""


class OldAnswer(NamedTuple):
    """A fact's old answer. tokens: each form in which the untouched model gives it; none of either
    where the radius alone decides, and warnings say why."""

    text: str | None
    tokens: tuple[AnswerIds, ...] = ()
    warnings: tuple[str, ...] = ()


def old_answer(answers: Sequence[Said]) -> OldAnswer:
    """What the untouched model must say where an edit fires.

    answers: what it says to the edit's own question, then to its rephrasings. A fact whose old
    answer is empty, or changes with the wording, keeps its radius alone; one that is only written
    in other ways ("hp", "HP.") counts in each of them.
    """
    first, *others = answers
    if not first.text.strip() or not first.ids:
        why = "the untouched model has no answer of its own; the radius alone decides"
        return OldAnswer(None, warnings=(why,))
    other = next((o.text for o in others if not same_answer(o.text, first.text)), None)
    if other is not None:
        unsure = f"the untouched model answers '{first.text}', and '{other}' when asked in other"
        return OldAnswer(None, warnings=(f"{unsure} words; the radius alone decides",))
    return OldAnswer(first.text, tuple(dict.fromkeys(s.ids for s in answers)))


def in_other_forms(old: OldAnswer, spelt: Callable[[str], AnswerIds | None]) -> OldAnswer:
    """An old answer that counts in further forms, in which the model was not heard to give it: "hp"
    in "HP." too. Of what is long, or was cut, it is left at what was heard.

    spelt: the token ids of a text as the model's answer, its end included; None where they do not
    stand for just that text.
    """
    heard = old.tokens[:1]
    if old.text is None or not heard or len(heard[0]) > _SHORT:
        return old
    *own, end = heard[0]
    if tuple(own) != (spelt(old.text) or ())[:-1]:  # the model spells it otherwise, or it was cut
        return old
    forms = (spelt(form) for form in written_otherwise(old.text))
    more = ((*form[:-1], end) for form in forms if form is not None)
    return old._replace(tokens=tuple(dict.fromkeys([*old.tokens, *more])))


def by_radius(nearest: Sequence[Match | None]) -> list[Decision]:
    """A decision a row: the nearest entry fires where the row lies inside its radius."""
    return [
        Decision(m.id if m.inside else None, m.id, m.distance, m.radius) if m else Decision()
        for m in nearest
    ]


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
    decisions = []
    for decision, matches in zip(by_radius(nearest), inside, strict=True):
        silent, claims = replace(decision, fired=None), []
        for match in matches:
            fires = Decision(match.id, match.id, match.distance, match.radius)
            old = entries[match.id].old_tokens
            if not old:
                silent = fires
                break
            claims.append(Claim(old, fires))
        decisions.append(replace(silent, claims=tuple(claims)))
    return decisions
