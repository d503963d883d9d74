"""Whose edits a model has in force: one editor's at a time, in one thread.

Edits are put in force by hooks on the model's modules, so two editors of one model, or of models
that share modules, cannot have theirs in force at once. Calls that last (`with editor:`) are told
from those that end by themselves: the latter are waited for, the former are refused by name.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from balancedit.errors import RoutingError

_NESTED = (
    "another editor's edits are in force on this model: leave its `with editor:` before you use "
    "this one, or hold all edits in one editor"
)
_ELSEWHERE = (
    "a `with editor:` of another thread has this model, and would be waited for until it is left: "
    "ask in that thread, or call editor.model.generate, which any thread may while it is open"
)


@dataclass
class _Taken:
    """Who is inside: in which thread, how deep, and in how many contexts of the user's own."""

    by: Occupancy
    thread: int
    depth: int = 0
    lasting: int = 0


_changed = threading.Condition()
_taken: weakref.WeakKeyDictionary[nn.Module, _Taken] = weakref.WeakKeyDictionary()


class Occupancy:
    """One editor's turn with the modules that its hooks are on."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = tuple(modules)
        self._own: _Taken | None = None

    @property
    def is_here(self) -> bool:
        """Whether this very thread is inside."""
        own = self._own
        return own is not None and own.thread == threading.get_ident()

    @contextmanager
    def taken(self, *, lasting: bool = False) -> Iterator[None]:
        """Inside the context no other thread, and no other editor of these modules, is. lasting:
        it ends when the user says so.

        Raises `RoutingError` where another editor is inside in this thread, or another thread's
        turn would last.
        """
        with _changed:
            while (other := self._other()) is not None:
                if other.thread == threading.get_ident():
                    raise RoutingError(_NESTED)
                if other.lasting:
                    raise RoutingError(_ELSEWHERE)
                _changed.wait()
            if self._own is None:
                self._own = _Taken(self, threading.get_ident())
                for module in self._modules:
                    _taken[module] = self._own
            own = self._own
            own.depth += 1
            own.lasting += lasting
        try:
            yield
        finally:
            with _changed:
                own.depth -= 1
                own.lasting -= lasting
                if not own.depth:
                    self._own = None
                    for module in self._modules:
                        _taken.pop(module, None)
                _changed.notify_all()

    def _other(self) -> _Taken | None:
        """Somebody else's turn with one of the modules, this editor's in another thread too."""
        for module in self._modules:
            found = _taken.get(module)
            if found is not None and (found.by is not self or not self.is_here):
                return found
        return None
