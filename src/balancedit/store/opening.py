"""Opening a store by its address: a directory, or `scheme://` and what that scheme says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from balancedit.errors import StoreError, nearest_names
from balancedit.store.protocol import Binding, EditStore
from balancedit.tables import named

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<place>.*)", re.DOTALL)


#: scheme -> where the function is that opens the store at a place, made where there is none, for
#: edits of that binding: (str, Binding | None) -> EditStore. None: no model is at hand, records are
#: looked at and reverted, and no store is made. It raises `StoreMismatchError` where the store
#: belongs to something else (`Binding.differences`), `StoreError` where it cannot be opened. A new
#: backend adds a line (docs/extending.md).
BACKENDS: dict[str, str] = {
    "memory": "balancedit.store.memory:open_memory",
    "directory": "balancedit.store.directory:open_directory",
}


def open_store(edits: str | Path | None, binding: Binding | Callable[[], Binding]) -> EditStore:
    """The store at an address, made where there is none.

    binding: what it must belong to, or what says so; edits in memory ask only once they are copied.
    edits: None keeps edits in memory, a path names a directory, and `scheme://place` what stands
    for that scheme in `BACKENDS`. Raises `StoreMismatchError` when the store belongs to another
    model, layer or method, `StoreError` when it cannot be opened or its scheme is not known.
    """
    scheme, place = _parts(edits)
    if scheme != "memory" and callable(binding):
        binding = binding()
    opened: EditStore = named(BACKENDS[scheme])(place, binding)
    return opened


def look_into(edits: str | Path) -> EditStore:
    """The store at an address, opened without a model: its records can be looked at and reverted.
    Raises `StoreError` where there is none, or none that another process could have filled."""
    scheme, place = _parts(edits)
    if scheme == "memory":
        raise StoreError(
            f"'{edits}': edits in memory end with the process that made them; name a store that "
            "lasts with --edits"
        )
    opened: EditStore = named(BACKENDS[scheme])(place, None)
    return opened


def directory_of(edits: str | Path) -> Path | None:
    """The directory that an address names; None where it is of another kind. Raises `StoreError`
    for a kind that is not known."""
    scheme, place = _parts(edits)
    return Path(place) if scheme == "directory" else None


def _parts(edits: str | Path | None) -> tuple[str, str]:
    """The scheme and the place of an address. Raises `StoreError` for an unknown scheme."""
    if edits is None:
        return "memory", ""
    address = _ADDRESS.fullmatch(edits) if isinstance(edits, str) else None
    scheme, place = (address["scheme"], address["place"]) if address else ("directory", str(edits))
    if scheme not in BACKENDS:
        raise StoreError(f"unknown kind of edit store '{scheme}'{nearest_names(scheme, BACKENDS)}")
    return scheme, place
