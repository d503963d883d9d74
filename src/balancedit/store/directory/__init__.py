"""A store in a directory: a SQLite file of records, a file of keys, a file of tensors an edit."""

from __future__ import annotations

from balancedit.store.directory.store import DiskStore
from balancedit.store.protocol import Binding


def open_directory(place: str, binding: Binding | None) -> DiskStore:
    """The store in a directory, made where there is none, for a binding."""
    return DiskStore.open(place, binding, create=True)
