"""What is in force: a method's edits kept as the store has them, attached to the model or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from balancedit.codebook.exact import exactly
from balancedit.errors import DamagedEditError
from balancedit.layer.prompts import evaluating
from balancedit.methods import Method
from balancedit.models.loading import LoadedModel
from balancedit.occupancy import Occupancy
from balancedit.store import DamagedEdit, EditStore
from balancedit.types import Edit


class Holding:
    """Makes a method hold exactly a store's active edits, and attaches it to its model. One thread
    at a time is inside (`occupancy.py`)."""

    def __init__(self, loaded: LoadedModel, method: Method, store: EditStore) -> None:
        self._loaded = loaded
        self._method = method
        self._store = store
        self._occupancy = Occupancy(method.routing.modules)
        self._attached = 0
        self._working = 0  # calls of the editor's own under way
        self._syncing = threading.RLock()
        self._damaged: dict[str, DamagedEdit] = {}
        self._of_picture: dict[str, dict[str, None]] = {}  # ids of edits held, by their picture
        self.sync()

    @property
    def damaged(self) -> tuple[DamagedEdit, ...]:
        """Edits that are left out, as far as that is known (`EditStore.held`)."""
        return tuple(self._damaged.values())

    def about(self, picture: str) -> list[Edit]:
        """The edits in force about a picture, oldest first. picture: its `picture_hash`."""
        ids = self._of_picture.get(picture, {})
        if not ids:
            return []
        held, records = {*self._method.active()}, self._store.records(ids)
        return [e for e in records.values() if e.state == "active" and e.id in held]

    def note(self, edit: Edit) -> None:
        """An edit was put in force, with what was learned at hand."""
        self._of_picture.setdefault(edit.image_sha256, {})[edit.id] = None

    @property
    def is_attached_here(self) -> bool:
        """Whether the model is attached in this very thread."""
        return self._attached > 0 and self._occupancy.is_here

    def alone(self) -> AbstractContextManager[None]:
        """Inside the context no other thread of this process changes what is held, or uses it."""
        return self._occupancy.taken()

    @contextmanager
    def attached(self, *, lasting: bool = False) -> Iterator[nn.Module]:
        """Inside the context the raw model answers with the edits in force, as the store has them
        when it is entered and whenever the model is called. lasting: it ends when the user says so.
        Raises `RoutingError` where another editor or thread has the model."""
        with self._occupancy.taken(lasting=lasting):
            if not self._attached:
                self.refresh()
                with exactly(gradients=True):
                    self._method.settle()
                self._method.routing.attach(self._before_call)
            self._attached += 1
            try:
                yield self._loaded.model
            finally:
                self._attached -= 1
                if not self._attached:
                    self._method.routing.detach()

    @contextmanager
    def working(self) -> Iterator[None]:
        """One of the editor's own calls: with the edits in force, as the store has them now, in the
        model's own precision."""
        with (
            self._occupancy.taken(),
            exactly(gradients=True),
            evaluating(self._loaded.model),
            self.attached(),
            self._loaded.pictures.reused(),
        ):
            self.refresh()
            self._working += 1
            try:
                yield
            finally:
                self._working -= 1

    def _before_call(self) -> None:
        """Before each call of the raw model by somebody else; what a call of the editor's own puts
        in force before it is stored stays."""
        if not self._working:
            self.refresh()

    def refresh(self) -> None:
        """Take over what other processes committed to the store."""
        if self._store.changed():
            self.sync()

    def sync(self) -> None:
        """Make the method hold exactly the store's active edits."""
        with self._syncing, exactly(gradients=True):  # a sequence is learned again
            self._sync()

    def _sync(self) -> None:
        wanted = self._store.active()
        held = set(self._method.active())
        missing = [i for i in wanted if i not in held]
        if missing and self._method.sequential:  # what comes after it is added again behind it
            missing = wanted[wanted.index(missing[0]) :]
        for gone in held - (set(wanted) - set(missing)):
            self._method.remove(gone)
        standing = set(wanted) - set(missing)
        self._damaged = {i: d for i, d in self._damaged.items() if i in standing}
        if missing:
            self._take_over(missing)
        if self._attached:
            self._method.settle()

    def _take_over(self, missing: Sequence[str]) -> None:
        """Put stored edits in force, all but damaged ones."""
        if self._method.reads_late:
            held, damaged = self._store.held(missing)
            late = [
                partial(self._read, e.id, read)
                for e, read in zip(held.edits, held.read, strict=True)
            ]
            self._method.add_many(replace(held, read=late))
            taken = held.edits
        else:
            good, damaged = self._store.load(missing)
            for entry in good:
                try:
                    self._method.add(entry.edit, entry.key, entry.tensors)
                except ValueError as error:  # of other shapes than the layer takes
                    reason = f"{error}; revert the edit and make it again"
                    damaged = [*damaged, DamagedEdit(entry.edit.id, reason)]
            taken = [entry.edit for entry in good]
        for edit in taken:
            self.note(edit)
        self._damaged |= {d.id: d for d in damaged}

    def _read(self, edit_id: str, read: Callable[[], dict[str, torch.Tensor]]) -> Any:
        """A stored edit's tensors, when they are first wanted."""
        try:
            with exactly():
                tensors = read()
            self._method.routing.layer.check(edit_id, tensors)
            return tensors
        except DamagedEditError as error:
            self._damaged[edit_id] = DamagedEdit(edit_id, error.reason)
            raise
