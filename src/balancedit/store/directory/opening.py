"""What is done and looked at before a directory is taken for a store."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from balancedit.errors import StoreError, StoreMismatchError
from balancedit.store.directory import database, files
from balancedit.store.protocol import Binding


def key_form(root: Path, binding: Binding) -> str:
    """How a store's keys are written, from what it belongs to."""
    key_type = binding.details.get("key_type", "float32")
    if key_type not in files.KEY_FORMS:
        raise StoreError(
            f"edit store '{root}': its keys are of type '{key_type}', which this version of "
            "balancedit cannot read; upgrade balancedit, or use another --edits directory"
        )
    return files.KEY_FORMS[key_type]


def writable(root: Path) -> bool:
    """Whether this process may write in `root`; asks, since SQLite would only say at a commit."""
    parts = [root, root / database.NAME, root / files.EDITS, root / files.KEYS]
    return all(os.access(p, os.W_OK) for p in parts if p.exists())


def create(root: Path, binding: Binding) -> None:
    """Make directory and database; take back whatever was made if that fails."""
    missing = [p for p in (root / files.EDITS, root, *root.parents) if not p.exists()]
    try:
        (root / files.EDITS).mkdir(parents=True, exist_ok=True)
        database.create_database(root, binding)
    except BaseException:
        # rmdir refuses a directory in which anybody else has meanwhile put something.
        with suppress(OSError):
            for path in missing:
                path.rmdir()
        raise


def check(root: Path, kept: Binding, wanted: Binding | None) -> None:
    """`StoreMismatchError` unless what the store belongs to is what it is opened for."""
    different = kept.differences(wanted) if wanted is not None else []
    if different:
        said = "; ".join(f"its {name} is {had}, not {has}" for name, had, has in different)
        raise StoreMismatchError(
            f"edit store '{root}' was made for something else: {said}; use another --edits "
            f"directory, or load {kept.model} with the settings it was made with"
        )
