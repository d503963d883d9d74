"""Tensors with the right checksum that the edited layer cannot take: the edit is named and left
out, and the model answers on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import safetensors.torch
import torch

import tiny
from balancedit import Editor
from balancedit.files.durable import digest
from tiny import taught


def replace(root: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other tensors for the only edit, summed as the store sums them."""
    (path,) = (root / "edits").glob("*.safetensors")
    data = safetensors.torch.save(tensors)
    path.write_bytes(data)
    with closing(sqlite3.connect(root / "store.sqlite3")) as db, db:
        db.execute(
            "UPDATE edits SET tensors_size = ?, tensors_sha256 = ?", (len(data), digest(data))
        )


@pytest.mark.parametrize("method", ["balancedit", "grace"])
@pytest.mark.parametrize(
    "tensors",
    [{"weight": torch.zeros(3, 3)}, {"a": torch.zeros(2, 2)}, {"n": torch.tensor(1)}, {}],
    ids=["weight", "a", "n", "none"],
)
def test_tensors_that_do_not_fit_are_a_damaged_edit(
    tmp_path: Path, method: str, tensors: dict[str, torch.Tensor]
) -> None:
    loaded = tiny.load("llava")
    made = Editor.on(loaded, edits=tmp_path, method=method).edit(
        tiny.picture(1), taught.QUESTION, "ab"
    )
    replace(tmp_path, tensors)
    ed = Editor.on(loaded, edits=tmp_path, method=method)
    answer = ed.ask(tiny.picture(1), taught.QUESTION)
    assert answer.fired is None
    (damaged,) = ed.damaged
    assert damaged.id == made.id
    assert "revert the edit and make it again" in damaged.reason
