"""What is in force: a method's edits kept as the store has them, attached to the model or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from balancedit.errors import DamagedEditError
from balancedit.layer.prompts import evaluating
from balancedit.methods import Method
from balancedit.models.loading import LoadedModel
from balancedit.store import DamagedEdit, EditStore


class Holding:
    """Makes a method hold exactly a store's active edits, and attaches it to its model. One thread
    at a time is inside; the others wait."""

    def __init__(self, loaded: LoadedModel, method: Method, store: EditStore) -> None:
        self.lock = threading.RLock()
        self._loaded = loaded
        self._method = method
        self._store = store
        self._attached = 0
        self._holder: int | None = None  # the thread that the model is attached in
        self._damaged: dict[str, DamagedEdit] = {}
        self.sync()

    @property
    def damaged(self) -> tuple[DamagedEdit, ...]:
        """Edits that are left out, as far as that is known (`EditStore.held`)."""
        return tuple(self._damaged.values())

    @property
    def is_attached_here(self) -> bool:
        """Whether the model is attached in this very thread."""
        return self._holder == threading.get_ident()

    @contextmanager
    def attached(self) -> Iterator[nn.Module]:
        """Inside the context the raw model answers with the edits in force."""
        with self.lock:
            if not self._attached:
                self._method.settle()
                self._method.routing.attach()
            self._attached += 1
            self._holder = threading.get_ident()
            try:
                yield self._loaded.model
            finally:
                self._attached -= 1
                if not self._attached:
                    self._holder = None
                    self._method.routing.detach()

    @contextmanager
    def working(self) -> Iterator[None]:
        """One of the editor's own calls: with the edits in force, as the store has them now."""
        with (
            self.lock,
            evaluating(self._loaded.model),
            self.attached(),
            self._loaded.pictures.reused(),
        ):
            self.refresh()
            yield

    def refresh(self) -> None:
        """Take over what other processes committed to the store."""
        if self._store.changed():
            with self.lock:
                self.sync()

    def sync(self) -> None:
        """Make the method hold exactly the store's active edits."""
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
        else:
            good, damaged = self._store.load(missing)
            for entry in good:
                try:
                    self._method.add(entry.edit, entry.key, entry.tensors)
                except ValueError as error:  # of other shapes than the layer takes
                    reason = f"{error}; revert the edit and make it again"
                    damaged = [*damaged, DamagedEdit(entry.edit.id, reason)]
        self._damaged |= {d.id: d for d in damaged}

    def _read(self, edit_id: str, read: Callable[[], dict[str, torch.Tensor]]) -> Any:
        """A stored edit's tensors, when they are first wanted."""
        try:
            tensors = read()
            self._method.routing.layer.check(edit_id, tensors)
            return tensors
        except DamagedEditError as error:
            self._damaged[edit_id] = DamagedEdit(edit_id, error.reason)
            raise
