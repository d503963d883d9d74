"""Batches on real editors: one loaded model, an editor for each tenant."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from balancedit.answering.generate import GeneratedAnswer
from balancedit.answering.together import Outcome as Made
from balancedit.answering.together import Wish
from balancedit.editor import Editor
from balancedit.errors import BalanceditError, InputError
from balancedit.inputs.conversation import Dialogue, opened
from balancedit.inputs.images import solid
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import each
from balancedit.models.loading import LoadedModel
from balancedit.serving.engine.protocol import Answered, Ask
from balancedit.serving.engine.runner import Held, Outcome, Question
from balancedit.serving.tenants import Tenants

T = TypeVar("T")
#: Given a tenant, its editor, and rows with what came of them, in the inference thread.
Tell = Callable[[str, Editor, Sequence[tuple[Row, Made]]], None]

#: Texts up to so many characters are of one length.
_SHORT = 64


def editor_for(loaded: LoadedModel, tenants: Tenants, **options: Any) -> Callable[[str], Editor]:
    """What opens the editor of a tenant by name. options: as for `Editor.on`. Opening raises
    `UnknownTenantError`, `StoreError`."""

    def open_editor(tenant: str) -> Editor:
        return Editor.on(loaded, edits=tenants.place(tenant), **options)

    return open_editor


class Editors:
    """Runs batches and works on the editors of one model (`runner.Runner`).

    open_editor: gives a tenant's editor, when it is first asked for; all of them share the model.
    tell: told what is answered with edits in force, but for rows that nobody waited for to their
    end; it must be quick, and not raise.
    """

    def __init__(self, open_editor: Callable[[str], Editor], tell: Tell | None = None) -> None:
        self._open, self._tell = open_editor, tell
        self._editors: dict[str, Editor] = {}
        self._held: dict[str, Held] = {}

    def opened(self, asked: Ask) -> Row:
        """See `Runner.opened`."""
        return opened(asked.turns)

    def bucket(self, asked: Ask, row: Row) -> Hashable:
        """Questions with the same edits in force, as many pictures, and texts of about one length:
        few processors mix numbers of pictures, and padding costs as much as a token does."""
        pictures, text = row
        texts = text.texts if isinstance(text, Dialogue) else [text]
        length = max(_SHORT, sum(map(len, texts)) - 1).bit_length()
        return asked.tenant, asked.base, len(each(pictures)), length

    def answer(self, questions: Sequence[Question]) -> Sequence[Outcome]:
        """See `Runner.answer`. Raises `InputError`, `StoreError` where there is no such tenant."""
        asked = questions[0].asked
        editor = self.of(asked.tenant)
        wishes = [self._wish(question, editor) for question in questions]
        made = editor.ask_together(wishes, base=asked.base)
        version = self._note(asked.tenant, editor).version
        if self._tell is not None and not asked.base:
            pairs = zip(questions, made, strict=True)
            self._tell(
                asked.tenant, editor, [(q.row, m) for q, m in pairs if q.row and not q.is_cut]
            )
        return [
            one if isinstance(one, BalanceditError) else _answered(one, version) for one in made
        ]

    def work(self, tenant: str, work: Callable[[Editor], T]) -> T:
        """See `Runner.work`."""
        editor = self.of(tenant)
        try:
            return work(editor)
        finally:
            self._note(tenant, editor)

    def held(self) -> Mapping[str, Held]:
        """See `Runner.held`."""
        return dict(self._held)

    def of(self, tenant: str) -> Editor:
        """A tenant's editor. Raises `InputError`, `StoreError`."""
        if tenant not in self._editors:
            self._editors[tenant] = self._open(tenant)
        return self._editors[tenant]

    def warm_up(self, tenants: Sequence[str]) -> None:
        """Open the editors of these tenants, answer a question, and make ready to learn, so that
        the first one that anybody asks, and the first edit, take no longer than the others. Called
        before the engine starts. Raises `StoreError`, `StoreMismatchError`."""
        for tenant in tenants:
            self._note(tenant, self.of(tenant))
        first = self.of(tenants[0])
        with suppress(InputError):  # a model that does not take it is as warm as it gets
            first.ask(solid((64, 64), "black"), "What is this?", max_new_tokens=2)
        first.warm_up()

    def stored(self) -> Mapping[str, int]:
        """Versions that the stores of the tenants who were asked about are at, which others may
        have written to; any thread may ask. Raises `StoreError`."""
        return {tenant: editor.store.version for tenant, editor in [*self._editors.items()]}

    def close(self) -> None:
        """Let go of all stores."""
        for editor in self._editors.values():
            editor.close()

    def _note(self, tenant: str, editor: Editor) -> Held:
        """Keep what a tenant has now, and give it."""
        version, known = editor.version, self._held.get(tenant)
        if known is None or known.version != version:
            known = self._held[tenant] = Held(version, editor.edits_in_force)
        return known

    def _wish(self, question: Question, editor: Editor) -> Wish:
        assert question.row is not None, "a question goes into a batch once it is open"
        asked, early = question.asked, question.ended

        def gone() -> bool:
            return question.gone

        def ended(answer: GeneratedAnswer) -> None:
            if early is not None:  # what is told of the tenant is so before anybody has an answer
                early(_answered(answer, self._note(asked.tenant, editor).version))

        return Wish(question.row, asked.max_new_tokens, gone, question.give, ended)


def _answered(made: GeneratedAnswer, version: int) -> Answered:
    return Answered(made.answer, version, made.prompt_tokens, len(made.said.ids))
