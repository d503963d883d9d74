"""A database whose parts do not fit one another: said to be damaged, never taken for a bug."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from balancedit.cli.main import main
from balancedit.errors import StoreError
from balancedit.store import DiskStore
from balancedit.store.copying import copy_store
from store_cases import BINDING, put

DATABASE = "store.sqlite3"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A closed store of two edits."""
    with DiskStore.open(tmp_path / "store", BINDING, create=True) as store:
        put(store, 1)
        put(store, 2)
    return tmp_path / "store"


def indexed_elsewhere(root: Path) -> None:
    """The index of ids speaks of another first edit than the table does."""
    with closing(sqlite3.connect(root / DATABASE)) as db:
        name = "sqlite_autoindex_edits_1"
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    data = bytearray((root / DATABASE).read_bytes())
    at = slice((page - 1) * size, page * size)
    assert b"00000001" in data[at]
    data[at] = data[at].replace(b"00000001", b"0000000f")
    (root / DATABASE).write_bytes(data)


USES: dict[str, Callable[[DiskStore, Path], Any]] = {
    "thumbnail": lambda store, _: store.thumbnail("00000001"),
    "resolve": lambda store, _: store.resolve("00000001"),
    "load": lambda store, _: store.load(store.edits()),
    "held": lambda store, _: store.held(store.edits()),
    "damaged": lambda store, _: store.damaged(store.edits()),
    "revert": lambda store, _: store.revert("00000001"),
    "copy": lambda store, root: copy_store(store, root / "copy"),
}


@pytest.mark.parametrize("use", USES)
def test_an_index_that_leads_elsewhere(root: Path, use: str) -> None:
    indexed_elsewhere(root)
    with (
        DiskStore.open(root, BINDING) as store,
        pytest.raises(StoreError, match=r"damaged.*00000001': its index leads elsewhere"),
    ):
        USES[use](store, root)


@pytest.mark.parametrize("command", [["list"], ["show", "00000001"], ["revert", "00000001"]])
def test_the_commands_say_so(
    root: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    indexed_elsewhere(root)
    assert main([*command, "--edits", str(root)]) == 1
    said = capsys.readouterr().err
    assert "store.sqlite3 is damaged" in said
    assert "this is a bug" not in said


@pytest.mark.parametrize("edit_id", ["\0", "", "0000000G", "1", "x" * 5000, b"00000001", 7])
def test_an_id_that_is_none_of_ours(
    root: Path, edit_id: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(root / DATABASE)) as db, db:
        db.execute("UPDATE edits SET id = ? WHERE number = 1", (edit_id,))
    with DiskStore.open(root) as store:
        for look in (store.edits, store.active, lambda: store.page(9)):
            with pytest.raises(StoreError, match="characters 0-9 and a-f"):
                look()
    for command in (["list"], ["show", "0"]):
        assert main([*command, "--edits", str(root)]) == 1
        assert "this is a bug" not in capsys.readouterr().err


@pytest.mark.parametrize("binding", [BINDING, None])
def test_a_schema_that_is_no_text(root: Path, binding: Any) -> None:
    data = (root / DATABASE).read_bytes()
    (root / DATABASE).write_bytes(data.replace(b"CREATE TABLE edits", b"CR\xb9ATE TABLE edits"))
    with pytest.raises(StoreError, match=r"store\.sqlite3 is damaged"):
        DiskStore.open(root, binding)
