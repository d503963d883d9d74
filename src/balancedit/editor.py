"""`Editor`: a vision-language model whose answers can be edited, explained and given back.

It ties the parts together: request → prompt → prefill → look-up → routed layer → answer. It knows
models only through `LoadedModel`, methods only through the `Method` protocol, and stores only
through `EditStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from balancedit.answering.generate import generate_answers, remembering
from balancedit.inputs.images import solid
from balancedit.inputs.pictures import Shown
from balancedit.methods import Method, configure, make_method
from balancedit.methods.belonging import belonging
from balancedit.methods.protocol import Prepares
from balancedit.models.loading import LoadedModel, load_model
from balancedit.on_terms import check_writable, teach
from balancedit.preview.previewing import Previewing
from balancedit.store import EditStore, open_store
from balancedit.store.copying import copy_store
from balancedit.store.terms import NO_TERMS, Terms
from balancedit.teaching import Teacher
from balancedit.types import Edit, Fact, FailedEdit


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

    def warm_up(self) -> None:
        """Do now what the first question and the first edit would otherwise do once: run the model,
        find out what of it need not run twice, load what rewords questions. Nothing changes but
        their time."""
        with self._holding.working():
            black = solid((64, 64), "black"), "What is this?"
            generate_answers(self._loaded, self._method, [black], max_new_tokens=1)
            with remembering(self._loaded, self._method):
                for part in (self._loaded.rephraser, self._method):
                    if isinstance(part, Prepares):
                        part.prepare()

    def revert(self, edit_id: str, *, terms: Terms = NO_TERMS) -> Edit:
        """Take an edit back; what it had replaced returns. With no edit left the model is the base
        model, bit for bit. terms: as for `edit`. Raises `EditNotFoundError` or `StoreError`."""
        return self.undo(edit_id, terms=terms)[0]

    def undo(self, edit_id: str, *, terms: Terms = NO_TERMS) -> list[Edit]:
        """The same as `revert`; the edit, and behind it those that came back or now wait for
        another one."""
        with self._holding.alone():
            self.refresh()
            changed = self._store.revert(self._store.resolve(edit_id), terms)
            self._holding.sync()
        return changed

    def save(self, directory: str | Path) -> Path:
        """Copy every edit held into a new store at `directory`. Raises `StoreError` when it holds
        edits already."""
        with self._holding.alone():
            self.refresh()
            copy_store(self._store, Path(directory))
        return Path(directory)
