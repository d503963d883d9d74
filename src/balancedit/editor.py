"""`Editor`: a vision-language model whose answers can be edited, explained and given back.

It ties the parts together: request → prompt → prefill → look-up → routed layer → answer. It knows
models only through `LoadedModel`, methods only through the `Method` protocol, and stores only
through `EditStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import torch
from torch import nn

from balancedit.answering.ask import How, check_how, stream_answers
from balancedit.answering.explain import explain_answer
from balancedit.answering.force import ForcedAnswer, force_answers
from balancedit.answering.generate import generate_answers, remembering
from balancedit.answering.stream import AnswerStream, TextStream
from balancedit.inputs.pairing import Sources, Texts, checked, checked_rows, paired
from balancedit.inputs.pictures import Shown
from balancedit.inputs.text import check_answer
from balancedit.methods import Method, configure, make_method
from balancedit.methods.belonging import belonging
from balancedit.models.loading import LoadedModel, load_model
from balancedit.on_terms import check_writable, teach
from balancedit.preview.previewing import Previewing
from balancedit.store import EditStore, open_store
from balancedit.store.copying import copy_store
from balancedit.store.terms import NO_TERMS, Terms
from balancedit.teaching import Teacher
from balancedit.types import BATCH_SIZE, Answer, Edit, Explanation, Fact, FailedEdit


class Editor(Previewing):
    """A model with edits. Make one with `Editor.load`.

    Outside the editor's own calls the model is untouched. Inside ``with editor:`` the raw model,
    its `forward` and `generate` included, answers with the edits in force. One editor serves one
    thread at a time; its own calls wait for each other.
    """

    def __init__(self, loaded: LoadedModel, method: Method, store: EditStore) -> None:
        super().__init__(loaded, method, store)
        self._teacher = Teacher(loaded, method, store, self._holding)

    @classmethod
    def load(
        cls,
        model: str | Path | nn.Module = "pocket",
        *,
        edits: str | Path | None = None,
        method: str = "balancedit",
        preset: str = "recommended",
        layer: str | None = None,
        processor: Any = None,
        prompt: str | None = None,
        system: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        **options: Any,
    ) -> Editor:
        """Load a model for editing, and the edits kept for it.

        model: "pocket", a hub name, a directory, or a loaded transformers image-text-to-text model
        (give its `processor` too). edits: where edits are kept, a directory or another address
        (`store.opening`), made when missing; None keeps them in memory. method: "balancedit", "ft",
        "grace", "ike" or "mend" (docs/methods.md). layer: dotted path of the linear layer to edit.
        prompt: format string for a model without chat template. system: a system message for the
        chat template. device: "auto" spreads the model over all devices. options: single settings
        of the method, such as ``key="mean"`` or ``alpha=0.1``
        (`balancedit.methods.balancedit.BalancEditConfig`, and its like of the other methods).

        Raises `ModelLoadError`, `LayerError`, `InputError`, `StoreError`, `StoreMismatchError`.
        """
        configure(method, preset, options)  # wrong settings are said before the model loads
        loaded = load_model(
            model,
            processor=processor,
            layer=layer,
            prompt=prompt,
            system=system,
            device=device,
            dtype=dtype,
        )
        return cls.on(loaded, edits=edits, method=method, preset=preset, **options)

    @classmethod
    def on(
        cls,
        loaded: LoadedModel,
        *,
        edits: str | Path | None = None,
        method: str = "balancedit",
        preset: str = "recommended",
        **options: Any,
    ) -> Editor:
        """An editor of a model that is loaded already (`models.loading.load_model`); arguments and
        errors as for `load`. Several editors may share a model, but not be attached at once."""
        bound = make_method(method, configure(method, preset, options), loaded)
        return cls(loaded, bound, open_store(edits, partial(belonging, loaded, bound)))

    # -- asking ------------------------------------------------------------------------------

    @overload
    def ask(
        self,
        image: Shown | None,
        question: str,
        *,
        stream: Literal[False] = ...,
        **how: Unpack[How],
    ) -> Answer: ...

    @overload
    def ask(
        self,
        image: Shown | Sources | None,
        question: Texts,
        *,
        stream: Literal[False] = ...,
        **how: Unpack[How],
    ) -> list[Answer]: ...

    @overload
    def ask(
        self, image: Sources, question: str, *, stream: Literal[False] = ..., **how: Unpack[How]
    ) -> list[Answer]: ...

    @overload
    def ask(
        self, image: Shown | None, question: str, *, stream: Literal[True], **how: Unpack[How]
    ) -> TextStream: ...

    @overload
    def ask(
        self,
        image: Shown | Sources | None,
        question: str | Texts,
        *,
        stream: Literal[True],
        **how: Unpack[How],
    ) -> AnswerStream | TextStream: ...

    def ask(
        self,
        image: Shown | Sources | None,
        question: str | Texts,
        *,
        max_new_tokens: int | None = None,
        num_beams: int = 1,
        batch_size: int = BATCH_SIZE,
        stream: bool = False,
    ) -> Answer | list[Answer] | TextStream | AnswerStream:
        """Answer one question about one image, or many at once.

        image: a path, bytes, a PIL image, `Pictures` (several in one prompt) or None (no image); or
        a list of them, as long as the questions' (a single image or question is used with all).
        max_new_tokens: of every answer at most; None: 32, and where an edit fires as many as what
        it taught takes. An answer that had not come to its end by then says so (`Answer.cut`).
        Decoding is greedy, or a beam search over `num_beams`, and nothing else: a checkpoint's own
        settings for `generate` (penalties, sampling) do not count here. stream: give the text while
        it comes, as an iterator of pieces, or of (row, piece) for many; closing it stops the model.
        Raises `ImageError` or `InputError`, which name the question where there are many.
        """
        single, pairs = paired(image, question)
        how = check_how(
            How(max_new_tokens=max_new_tokens, num_beams=num_beams, batch_size=batch_size)
        )
        rows = checked_rows(pairs)
        if stream:
            streamed = stream_answers(self._loaded, self._method, rows, self._holding, how)
            return TextStream(streamed) if single else streamed
        with self._holding.working():
            answers = generate_answers(self._loaded, self._method, rows, **how)
        return answers[0].answer if single else [one.answer for one in answers]

    def explain(
        self,
        image: Shown | None,
        question: str,
        *,
        nearest: int = 5,
        max_new_tokens: int | None = None,
    ) -> Explanation:
        """Why a query gets the answer it gets: the nearest edits, their radii, which one fired, and
        what the untouched model says. max_new_tokens: as for `ask`, of both answers."""
        how = check_how(How(max_new_tokens=max_new_tokens))
        row = checked(image, question)
        with self._holding.working():
            return explain_answer(self._loaded, self._method, self._store, row, nearest, how)

    def force(
        self,
        images: Sequence[Shown | None],
        questions: Sequence[str],
        answers: Sequence[str],
        *,
        candidates: int = 1,
        batch_size: int = BATCH_SIZE,
    ) -> list[ForcedAnswer]:
        """Teacher forcing: for each question and answer, what the model finds most likely at every
        token of that answer, given the tokens before it.

        Easier than answering, since most of the answer is given away; here for figures to compare
        with published ones. candidates: how many tokens are kept at each place. Raises `ImageError`
        or `InputError`.
        """
        rows = checked_rows(list(zip(images, questions, strict=True)))
        forced = [check_answer(answer) for answer in answers]
        with self._holding.working():
            return force_answers(
                self._loaded,
                self._method,
                rows,
                forced,
                candidates=candidates,
                batch_size=batch_size,
            )

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside the context questions that are asked again, in the same batches, are read again
        only from the edited layer's block on, whichever edits are in force by then; the answers are
        the same, bit for bit. It holds for every editor that shares the model (`Editor.on`), and
        keeps up to a gigabyte. The model's weights must not change meanwhile."""
        with ExitStack() as context:
            with self._holding.working():
                context.enter_context(remembering(self._loaded, self._method))
            yield

    # -- editing -----------------------------------------------------------------------------

    def edit(
        self,
        image: Shown,
        question: str,
        answer: str,
        *,
        rephrasings: Sequence[str] = (),
        negative: Shown | None = None,
        new: bool = False,
        terms: Terms = NO_TERMS,
    ) -> Edit:
        """Teach the model one new answer; in force, and stored, when this returns.

        image: as for `ask`; of several pictures the edit is about all of them, in that order.
        rephrasings: other wordings of the question to measure the radius with; without them the
        model makes its own. negative: "black", "white", "grey", "noise", or what the edit must not
        reach, with as many pictures. Both matter only to a method that measures a radius with them.
        new: the model knows nothing of the fact, so that what it says now is a guess: the edit then
        fires anywhere inside its radius, whatever the untouched model would say there. terms: the
        version that the store must be at, who asks (`store.Terms`). Raises `InputError`,
        `ImageError`, `EditFailedError`, `EditConflictError`, `StoreError`; then nothing was kept.
        """
        fact = Fact(image, question, answer, rephrasings, negative, new)
        check_writable(self._store)
        with self._holding.working():
            return teach(self._loaded, self._method, self._store, self._holding, fact, terms)

    def edit_many(
        self,
        facts: Iterable[Fact],
        *,
        progress: Callable[[Edit | FailedEdit], None] | None = None,
    ) -> list[Edit | FailedEdit]:
        """Teach the model many answers, trained together in batches; what comes of each fact, in
        their order.

        The edits are those that `edit` would make of the facts one after another, with the same
        overlaps and conflicts, and are stored one by one in that order: a process that is killed
        leaves the first of them, whole. A fact with wrong input, or one that cannot be learned, is
        a `FailedEdit`, and the others stand. progress: called with each as it is settled. Raises
        `StoreError` when the store fails; the edits stored by then stand too.
        """
        check_writable(self._store)
        with self._holding.working():
            return self._teacher.teach(facts, progress)

    def revert(self, edit_id: str, *, terms: Terms = NO_TERMS) -> Edit:
        """Take an edit back; what it had replaced returns. With no edit left the model is the base
        model, bit for bit. terms: as for `edit`. Raises `EditNotFoundError` or `StoreError`."""
        with self._holding.alone():
            self.refresh()
            wanted = self._store.resolve(edit_id)
            changed = self._store.revert(wanted, terms)
            self._holding.sync()
        return next(e for e in changed if e.id == wanted)

    def save(self, directory: str | Path) -> Path:
        """Copy every edit held into a new store at `directory`. Raises `StoreError` when it holds
        edits already."""
        with self._holding.alone():
            self.refresh()
            copy_store(self._store, Path(directory))
        return Path(directory)
