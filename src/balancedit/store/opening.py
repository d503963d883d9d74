"""Opening a store by its address: a directory, or `scheme://` and what that scheme says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from balancedit.errors import StoreError, nearest_names
from balancedit.store.directory.store import DiskStore
from balancedit.store.memory import MemoryStore
from balancedit.store.protocol import Binding, EditStore

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<place>.*)", re.DOTALL)


def _memory(place: str, binding: Binding) -> EditStore:
    """A store of this process alone; it has no place that others could find."""
    if place:
        raise StoreError(f"memory://{place}: edits in memory have no place; write memory://")
    return MemoryStore(binding)


def _directory(place: str, binding: Binding) -> EditStore:
    """The store in a directory, made where there is none."""
    return DiskStore.open(place, binding, create=True)


#: scheme -> opens the store at a place, made where there is none, for edits of that binding; raises
#: `StoreMismatchError` where it belongs to something else, `StoreError` where it cannot be opened.
#: A new backend adds a line.
BACKENDS: dict[str, Callable[[str, Binding], EditStore]] = {
    "memory": _memory,
    "directory": _directory,
}


def open_store(edits: str | Path | None, binding: Binding) -> EditStore:
    """The store at an address, made where there is none.

    edits: None keeps edits in memory, a path names a directory, and `scheme://place` what stands
    for that scheme in `BACKENDS`. Raises `StoreMismatchError` when the store belongs to another
    model, layer or method, `StoreError` when it cannot be opened or its scheme is not known.
    """
    if edits is None:
        return _memory("", binding)
    address = _ADDRESS.fullmatch(edits) if isinstance(edits, str) else None
    if address is None:
        return _directory(str(edits), binding)
    scheme = address["scheme"]
    if scheme not in BACKENDS:
        raise StoreError(f"unknown kind of edit store '{scheme}'{nearest_names(scheme, BACKENDS)}")
    return BACKENDS[scheme](address["place"], binding)
