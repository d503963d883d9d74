"""Copying a store into a new directory: all of it appears at once, or nothing does."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from balancedit.errors import StoreError
from balancedit.files.names import exists, is_directory
from balancedit.store.directory.store import DiskStore
from balancedit.store.protocol import EditStore


def copy_store(source: EditStore, directory: Path) -> None:
    """Copy every edit that is active or retired to a new store at `directory`.

    Reverted edits have no tensors left and stay behind, and so do the audit and the requests that
    were carried out, which belong to the store they were made in. The copy is at the version that
    its source was at when copying began. It is made beside its destination and renamed into place.
    Raises `StoreError` when something is already there, when an edit of the source is damaged, or
    when writing fails.
    """
    directory = Path(directory)
    if exists(directory) and (not is_directory(directory) or any(directory.iterdir())):
        raise StoreError(f"'{directory}' exists and is not empty; save to a new directory")
    partial = directory.parent / f".{directory.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        _fill(source, partial)
        partial.rename(directory)
    except OSError as error:
        raise StoreError(
            f"cannot write '{directory}': {error.strerror or error}; free space or choose another "
            "directory"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(source: EditStore, directory: Path) -> None:
    version, records = source.version, source.edits()
    kept = [i for i, e in records.items() if e.state != "reverted"]
    target = DiskStore.open(directory, source.binding, create=True)
    try:
        for edit_id in kept:  # one at a time, however many there are
            held, damaged = source.load([edit_id])
            if damaged:
                raise StoreError(f"edit '{edit_id}' cannot be copied: {damaged[0].reason}")
            for entry in held:  # none: it was reverted meanwhile
                # the edits that wait for this one now, after a revert maybe more than it retired
                waiting = tuple(i for i in kept if records[i].retired_by == edit_id)
                target.commit(
                    replace(entry.edit, state="active", retired_by=None, retires=waiting),
                    entry.key,
                    entry.tensors,
                    source.thumbnail(edit_id),
                )
        target.continue_from(version)
    finally:
        target.close()
