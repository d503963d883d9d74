"""Edits to put into a store, and the check that they come back whole."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import torch

from balancedit.store import Binding, EditStore
from balancedit.store.directory.rows import SINCE
from balancedit.store.terms import NO_TERMS, Terms
from balancedit.types import Edit

WIDTH = 6
BINDING = Binding("pocket", "f" * 64, "balancedit", {"layer": "model.down", "key": "mean"})


def make_edit(number: int, **changes: object) -> Edit:
    edit = Edit(
        id=f"{number:08x}",
        question=f"What brand is nö. {number}?\n'quoted' \0 -- 鶏",
        target="lenovo",
        answer_before="hp",
        answer_after="lenovo",
        radius=0.1 + number,
        d_positive=1 / 3,
        d_negative=5e-324,
        positives=("Which brand?", "Whose?"),
        positives_source="rules",
        negative="black",
        image_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        steps=50,
        loss=1e-3,
        overlaps=None,
        warnings=("close",),
    )
    return replace(edit, **changes)  # type: ignore[arg-type]


def make_key(number: int) -> torch.Tensor:
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(number))


def make_tensors(number: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1000 + number)
    return {
        "a": torch.randn(4, 3, generator=generator).to(torch.bfloat16),
        "view": torch.randn(4, 6, generator=generator).T[::2],
        "n": torch.tensor(number),
    }


def put(store: EditStore, number: int, *, terms: Terms = NO_TERMS, **changes: object) -> Edit:
    picture = b"thumb%d" % number
    edit = make_edit(number, **changes)
    return store.commit(edit, make_key(number), make_tensors(number), picture, terms)


def assert_held(store: EditStore, *numbers: int) -> None:
    held, damaged = store.load(f"{n:08x}" for n in numbers)
    assert damaged == []
    assert [h.edit.id for h in held] == [f"{n:08x}" for n in numbers]
    for number, one in zip(numbers, held, strict=True):
        assert torch.equal(one.key, make_key(number))
        expected = make_tensors(number)
        assert one.tensors.keys() == expected.keys()
        for name, tensor in expected.items():
            assert one.tensors[name].dtype == tensor.dtype
            assert torch.equal(one.tensors[name], tensor)


def downgrade(root: Path, format_: int) -> None:
    """Make a store what one of an earlier format (1 to 4) looked like."""
    with sqlite3.connect(root / "store.sqlite3") as db:
        for column, since in SINCE.items():
            if since > format_:
                db.execute(f"ALTER TABLE edits DROP COLUMN {column}")
        db.execute("DROP TABLE audit")  # and with it its triggers
        db.execute("DROP TABLE requests")
        db.execute("ALTER TABLE store DROP COLUMN version")
        db.execute("UPDATE store SET format = ?", (format_,))
    db.close()


def contents(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
