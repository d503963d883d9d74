"""What is done and looked at before a directory is taken for a store."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from balancedit.errors import StoreError, StoreMismatchError
from balancedit.store.directory import database, files, rows
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


#: How a difference is put where "its NAME is …" would not say it.
_SAID = {"prompt": "prompt renders as", "picture": "pictures become"}
_SHOWN = 160  # characters of a value in a message


def check(root: Path, db: sqlite3.Connection, wanted: Binding | None) -> Binding:
    """What the store belongs to: as it says itself, or, of a format that did not say as much, as
    what it is opened for says. Raises `StoreMismatchError` unless that is the same."""
    kept = database.read_binding(db, root)
    if wanted is None:
        return kept
    old = rows.format_of(db) < database.BOUND_BY_ANSWERS
    different = kept.differences(wanted.former() if old and wanted.former else wanted)
    if different:
        said = "; ".join(_difference(*each) for each in different)
        remedy = f"load {kept.model} with the settings it was made with"
        if old and "model" in {name for name, _, _ in different}:
            remedy = (
                "load the model as it was then: up to format 3 a store was bound to the whole "
                "configuration, the defaults of that version of transformers among it; opened so "
                "where it can be written, it is bound to the weights alone from then on"
            )
        raise StoreMismatchError(
            f"edit store '{root}' was made for something else: {said}; use another --edits "
            f"directory, or {remedy}"
        )
    return replace(wanted if old else kept, model=kept.model, former=wanted.former)


def _difference(name: str, had: str, has: str) -> str:
    """One difference in words, long values cut to where they part."""
    same = next((at for at, (a, b) in enumerate(zip(had, has, strict=False)) if a != b), 0)
    start = max(0, same - _SHOWN // 4) if max(len(had), len(has)) > _SHOWN else 0
    shown = [
        ("…" if start else "") + text[start : start + _SHOWN] + "…" * (len(text) > start + _SHOWN)
        for text in (had, has)
    ]
    return f"its {_SAID.get(name, f'{name} is')} {shown[0]}, not {shown[1]}"
