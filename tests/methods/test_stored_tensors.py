"""Stored tensors under other names, of other shapes or types, of every method: the edit is damaged
and named, and the others answer on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import tiny
from balancedit import Editor
from balancedit.files.durable import digest
from tiny.taught import QUESTION

Tensors = dict[str, torch.Tensor]
MakeEditor = Callable[[str, Path], Editor]

#: What every edit of a method holds, the names without those of further pictures.
NAMES = {
    "balancedit": ("a", "q"),
    "ft": ("adam", "made_on", "pixels", "weight"),
    "grace": ("value",),
    "ike": ("prefix",),
    "mend": ("made_on", "pixels", "weight"),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "balancedit": {"steps": 3},
    "ft": {"steps": 3},
    "grace": {"steps": 3},
    "ike": {"demonstrations": 0},
    "mend": {},
}
LACKING = [(method, name) for method, names in NAMES.items() for name in names]
pytestmark = pytest.mark.parametrize("family", ["llava"])


@pytest.fixture
def editor(network: Path) -> MakeEditor:
    """Makes editors of a store, each of a fresh copy of the model."""
    more = {"mend": {"network": network}}

    def make(method: str, root: Path) -> Editor:
        layer = tiny.BEFORE_LAST if method == "grace" else tiny.LAST
        options = OPTIONS[method] | more.get(method, {})
        loaded = tiny.load("llava", layer["llava"])
        return Editor.on(loaded, edits=root, method=method, **options)

    return make


def rewritten(root: Path, edit_id: str, change: Callable[[Tensors], None]) -> None:
    """An edit's tensors changed, summed as the store sums them."""
    path = root / "edits" / f"{edit_id}.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    path.write_bytes(data := safetensors.torch.save(tensors))
    with closing(sqlite3.connect(root / "store.sqlite3")) as db, db:
        sums = (len(data), digest(data), edit_id)
        db.execute("UPDATE edits SET tensors_size = ?, tensors_sha256 = ? WHERE id = ?", sums)


def left_out(editor: MakeEditor, method: str, root: Path, change: Callable[[Tensors], None]) -> str:
    """Why the first of two edits is left out once its tensors are changed; the second answers."""
    first = editor(method, root)
    ids = [first.edit(tiny.picture(n), QUESTION, "ab").id for n in (1, 2)]
    assert {n.partition(".")[0] for n in first._store.load(ids)[0][0].tensors} == {*NAMES[method]}
    first.close()
    rewritten(root, ids[0], change)
    opened = editor(method, root)
    opened.ask([tiny.picture(1), tiny.picture(2)], QUESTION, max_new_tokens=2)
    (damaged,) = opened.damaged
    assert damaged.id == ids[0]
    assert list(opened._method.active()) == ids[1:]
    assert "revert the edit and make it again" in damaged.reason
    opened.revert(ids[0])
    assert opened.damaged == ()
    return damaged.reason


@pytest.mark.parametrize(("method", "name"), LACKING)
def test_a_missing_tensor_is_named(
    editor: MakeEditor, tmp_path: Path, method: str, name: str
) -> None:
    def without(tensors: Tensors) -> None:
        del tensors[name]

    reason = left_out(editor, method, tmp_path, without)
    assert f"'{name}'" in reason


@pytest.mark.parametrize("method", NAMES)
def test_a_surplus_tensor_is_named(editor: MakeEditor, tmp_path: Path, method: str) -> None:
    more = {"extra": torch.zeros(2)}
    assert "'extra'" in left_out(editor, method, tmp_path, lambda t: t.update(more))


@pytest.mark.parametrize(("method", "name"), LACKING)
def test_a_tensor_of_another_shape_or_type_is_named(
    editor: MakeEditor, tmp_path: Path, method: str, name: str
) -> None:
    def flipped(tensors: Tensors) -> None:
        kind = torch.uint8 if tensors[name].is_floating_point() else torch.float32
        tensors[name] = tensors[name].to(kind)

    def longer(tensors: Tensors) -> None:
        tensors[name] = tensors[name][..., None].repeat_interleave(2, -1)

    for change in (flipped, longer):
        assert f"'{name}'" in left_out(editor, method, tmp_path / change.__name__, change)


def test_a_prefix_that_is_no_text_is_named(editor: MakeEditor, tmp_path: Path) -> None:
    def bent(tensors: Tensors) -> None:
        tensors["prefix"] = torch.tensor([0xFF, 0xFE], dtype=torch.uint8)

    assert "no UTF-8" in left_out(editor, "ike", tmp_path, bent)


def test_pictures_beyond_their_number_are_named(editor: MakeEditor, tmp_path: Path) -> None:
    more = {"pixels.2": torch.zeros(4, 4, 3, dtype=torch.uint8)}
    reason = left_out(editor, "ft", tmp_path, lambda t: t.update(more))
    assert "'pixels.2'" in reason
