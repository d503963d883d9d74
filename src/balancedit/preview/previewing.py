"""An edited model that says what an edit would change before it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from balancedit import on_terms
from balancedit.answering.generate import GeneratedAnswer, generate_answers
from balancedit.asked_model import AskedModel
from balancedit.errors import EditConflictError, InputError, OutdatedPreviewError
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import Shown, small_copy
from balancedit.layer.decisions import Said
from balancedit.preview.outlook import Outlook
from balancedit.preview.preview import Preview
from balancedit.preview.records import Bounds
from balancedit.preview.rehearsal import Rehearsal, foreseeing, rehearsed
from balancedit.preview.remembered import Remembered, remembered
from balancedit.preview.supposing import supposing
from balancedit.store.terms import NO_TERMS, Terms
from balancedit.teaching import Teacher
from balancedit.types import Edit, Fact

if TYPE_CHECKING:
    from balancedit.preview.remembered import Remembers

    Over = Remembers | str | Sequence[tuple[Shown | None, str]]

#: Changes whose answers are generated, where nothing else is asked for.
MOST = 50
_ATTEMPTS = 3  # to keep an edit that others elsewhere leave room for


class Previewing(AskedModel):
    """An edited model with previews of edits."""

    @property
    def key_way(self) -> str:
        """Names how keys are made here: questions whose keys were made in another way, by other
        weights, of another layer or with another prompt, are not comparable. 32 hexadecimal
        digits."""
        bound = self._store.binding
        named = [bound.fingerprint, bound.method, sorted(bound.details.items())]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of an answer's token ids."""
        return self._loaded.prompter.decode([list(ids)])[0]

    def preview(
        self,
        image: Shown,
        question: str,
        answer: str,
        *,
        rephrasings: Sequence[str] = (),
        negative: Shown | None = None,
        new: bool = False,
        over: Over | Any = (),
        most: int = MOST,
    ) -> Preview:
        """Learn an edit without making it, and say what it would change of what was asked before.

        Arguments of the fact are as for `edit`. over: the questions to hold it against: a query log
        (`serving.querylog`), a folder of pictures, each asked the edit's own question, or a list of
        (image, question). Logged questions are decided without the model; the others are asked
        once. most: changes, at most, whose answers are generated, the nearest first. Nothing is
        stored, and nothing that is in force changes. Raises `InputError`, `ImageError` or
        `EditFailedError`.
        """
        foreseeing(self._method)
        fact = Fact(image, question, answer, rephrasings, negative, new)
        with self._holding.working():
            made = rehearsed(self._loaded, self._method, self._teaching(), fact)
            edit = made if isinstance(made, Edit) else made.edit
            questions = remembered(over, edit.question, self.key_way, self._ask_untouched)
            return self._previewed(made, questions, most)

    def commit(
        self, preview: Preview, radius: float | None = None, *, terms: Terms = NO_TERMS
    ) -> Edit:
        """Keep an edit that was previewed, exactly as it was; in force, and stored, when this
        returns.

        radius: instead of the preview's. terms: as for `edit`. Raises `OutdatedPreviewError`, an
        `EditConflictError`, where edits made or reverted meanwhile would have it learned otherwise,
        or have other questions change than the preview says; and where it was committed already.
        Nothing was kept then. Raises `InputError`, `StoreError`.
        """
        on_terms.check_writable(self._store)
        if preview.keep != self.commit:
            raise InputError("another editor made this preview, of its own edits; commit it there")
        chosen = preview if radius is None else preview.at(radius)
        with self._holding.working():
            on_terms.check(self._store, terms)
            made = chosen.rehearsal
            if made is None:
                return self._known(chosen, terms)
            for attempt in range(_ATTEMPTS):
                self._check_unmoved(chosen, made)
                seen = terms if terms.expect is not None else replace(terms, expect=self.version)
                try:
                    return self._kept(chosen, made, seen)
                except EditConflictError:  # somebody else was quicker, perhaps elsewhere
                    if terms.expect is not None or attempt == _ATTEMPTS - 1:
                        raise
                    self._holding.refresh()
            raise AssertionError("unreachable: the last attempt returns or raises")

    # -- inside ------------------------------------------------------------------------------

    def _teaching(self) -> Teacher:
        return Teacher(self._loaded, self._method, self._store, self._holding)

    def _ask_untouched(self, rows: Sequence[Row]) -> list[GeneratedAnswer]:
        with self._method.routing.bypass():
            return generate_answers(self._loaded, self._method, rows)

    def _previewed(self, made: Rehearsal | Edit, over: Remembered, most: int) -> Preview:
        version = self.version
        if isinstance(made, Edit):
            radius = made.radius or 0.0
            bounds = Bounds(radius, radius, radius)
            return Preview(made, radius, bounds, version, len(over.keys), keep=self.commit)
        radius = made.edit.radius or 0.0
        bounds = Bounds(
            learned=radius,
            min=min(radius, foreseeing(self._method).finest(made.learned.key)),
            max=max(2 * radius, made.learned.d_negative or 0.0),
        )
        with supposing(self._loaded, self._method, made.edit, made.tensors) as supposed:

            def ask(rows: Sequence[Row], fired: Sequence[str | None]) -> list[Said]:
                return [one.said for one in supposed.answers(rows, fired)]

            outlook = Outlook(made.foresight, over, bounds.max, ask)
            outlook.answer(over, radius, most, ask)
        changed, undecided = outlook.changes(radius)
        return Preview(
            made.edit,
            radius,
            bounds,
            version,
            outlook.considered,
            undecided,
            changed,
            outlook,
            made,
            self.commit,
        )

    def _known(self, preview: Preview, terms: Terms) -> Edit:
        """An edit that taught the fact already, if it still does."""
        edit = preview.edit
        if edit.id not in self._method.active():
            raise self._moved(preview, f"edit {edit.id}, which taught this, is in force no longer")
        if terms.audit or terms.request:
            self._store.note("known", terms, edit.id)
        return edit

    def _moved(self, preview: Preview, why: str) -> OutdatedPreviewError:
        return OutdatedPreviewError(why, preview.version, self.version)

    def _check_unmoved(self, preview: Preview, made: Rehearsal) -> None:
        """Raise `EditConflictError` where the edit would be another now, or do otherwise."""
        if preview.edit.id in self._store.records([preview.edit.id]):
            raise self._moved(preview, f"it was committed already, as edit {preview.edit.id}")
        if tuple(self._method.active()) == made.held:
            return
        method = foreseeing(self._method)
        related = method.relations(made.fact.request, made.learned)
        if related != (made.learned.overlaps, made.learned.retires):
            raise self._moved(
                preview, "edits made or reverted meanwhile lie where this one was learned"
            )
        foresight = method.foresee(made.edit, made.learned.key)
        (own,) = foresight.placed(made.learned.key[None])
        said = made.fact.request.untouched
        alike = [
            (see.now(place, said), see.then(place, preview.radius, said))
            for see, place in ((made.foresight, made.own), (foresight, own))
        ]
        assert preview.outlook is not None
        if alike[0] != alike[1] or not preview.outlook.holds(foresight, preview.radius):
            raise self._moved(
                preview, "edits made or reverted meanwhile change what this preview says"
            )

    def _kept(self, preview: Preview, made: Rehearsal, terms: Terms) -> Edit:
        """Put it in force, and store it."""
        edit, learned = preview.edit, made.learned
        if preview.radius != preview.bounds.learned:
            by_hand = f"the radius {preview.bounds.learned:.4g} was measured, and set otherwise"
            edit = replace(edit, radius=preview.radius, warnings=(*edit.warnings, by_hand))
        try:
            for retired in learned.retires:
                if retired in self._method.active():  # else found damaged meanwhile
                    self._method.remove(retired)
            self._method.add(edit, learned.key, learned.tensors)
            self._method.settle()
            picture = small_copy(made.fact.request.image)
            kept = self._store.commit(edit, learned.key, dict(learned.tensors), picture, terms)
        except BaseException:
            self._holding.sync()  # what is in force and not stored is in force no longer
            raise
        self._holding.note(kept)
        return kept
