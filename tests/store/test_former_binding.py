"""Stores that say less of what they are bound to than today's: `format3` was made by the last code
that wrote format 3, for the model of `tiny/exact.py`."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import transformers

import tiny
from balancedit import Editor
from balancedit.errors import StoreMismatchError
from balancedit.store import DiskStore
from balancedit.store.directory import database, rows
from tiny import exact

KEPT = Path(__file__).with_name("format3")
MADE_WITH = "5.23.0"  # transformers, whose defaults the old fingerprint holds


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the kept store, as this version of transformers would have had it made."""
    root = tmp_path / "edits"
    shutil.copytree(KEPT, root)
    if transformers.__version__ != MADE_WITH:
        _rebind(root, exact.editor()._loaded.former_fingerprint())
    return root


def _rebind(root: Path, fingerprint: str) -> None:
    with sqlite3.connect(root / database.NAME) as db:
        db.execute("UPDATE store SET fingerprint = ?", (fingerprint,))
    db.close()


def format_in(root: Path) -> int:
    with sqlite3.connect(root / database.NAME) as db:
        found = rows.format_of(db)
    db.close()
    return found


def assert_answers(editor: Editor) -> None:
    assert editor.damaged == ()
    said = [editor.ask(tiny.picture(seed), exact.QUESTION) for seed in exact.TAUGHT]
    assert [answer.text for answer in said] == list(exact.TAUGHT.values())
    assert {answer.fired for answer in said} == set(editor._store.active())
    assert len(editor._store.active()) == 2


def test_a_store_of_the_third_format_opens_answers_and_is_brought_up_to_date(root: Path) -> None:
    assert format_in(root) == 3
    editor = exact.editor(edits=root)
    assert_answers(editor)
    assert format_in(root) == database.FORMAT
    new = editor.edit(tiny.picture(3), exact.QUESTION, "ab", rephrasings=[exact.REWORDED])
    again = exact.editor(edits=root)
    assert again.ask(tiny.picture(3), exact.QUESTION).fired == new.id
    with pytest.raises(StoreMismatchError, match="prompt renders as"):
        exact.editor(edits=root, system="Be brief.")
    model, processor = exact.llava()
    model.config.use_cache = False
    assert Editor.load(model, processor=processor, edits=root, **exact.SETTINGS).edits()


def test_a_store_of_the_third_format_answers_where_it_cannot_be_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("balancedit.store.directory.opening.writable", lambda at: at != root)
    editor = exact.editor(edits=root)
    assert editor._store.read_only
    assert_answers(editor)
    assert format_in(root) == 3
    editor.save(tmp_path / "copy")
    assert format_in(tmp_path / "copy") == database.FORMAT
    assert_answers(exact.editor(edits=tmp_path / "copy"))


def test_a_store_of_the_third_format_of_another_configuration_says_what_to_do(root: Path) -> None:
    _rebind(root, "0" * 64)
    with pytest.raises(StoreMismatchError, match=r"its model is .*load the model as it was then"):
        exact.editor(edits=root)
    assert format_in(root) == 3
    with pytest.raises(StoreMismatchError, match="its key is mean, not last") as caught:
        exact.editor(edits=root, key="last")
    assert "model is" in str(caught.value)


def test_without_a_model_a_store_of_the_third_format_stays_what_it_is(root: Path) -> None:
    with DiskStore.open(root) as store:
        first, second = store.edits()
        store.revert(second)
    assert format_in(root) == 3
    editor = exact.editor(edits=root)
    assert editor._store.active() == [first]
    assert format_in(root) == database.FORMAT
    with DiskStore.open(root) as store:
        assert len(store.edits()) == 2
    assert format_in(root) == database.FORMAT


def test_of_two_that_bring_a_store_up_to_date_for_two_prompts_one_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = database.upgrade

    def after_another(db: Any, binding: Any) -> bool:
        monkeypatch.setattr(database, "upgrade", upgrade)
        exact.editor(edits=root)
        return upgrade(db, binding)

    monkeypatch.setattr(database, "upgrade", after_another)
    with pytest.raises(StoreMismatchError, match="prompt renders as"):
        exact.editor(edits=root, system="Be brief.")
    assert_answers(exact.editor(edits=root))
