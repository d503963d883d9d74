"""`show` and `revert` read the records that concern them, whatever else the store holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from balancedit.store import DiskStore
from balancedit.store.directory import database, rows
from store_cases import BINDING, put


@pytest.fixture
def held() -> list[str]:
    """Ids of three edits in ./edits; the second is an active one beside the first."""
    with DiskStore.open("edits", BINDING, create=True) as store:
        return [put(store, number).id for number in (1, 2, 3)]


@pytest.mark.parametrize("command", ["show", "revert"])
def test_one_record_is_read(
    run: Any, held: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = rows._record
    monkeypatch.setattr(rows, "_record", lambda row: (read.append(row[0]), real(row))[1])
    ran = run(command, held[1], "--json")
    assert (ran.code, ran.json["id"]) == (0, held[1])
    assert set(read) == {held[1]}


@pytest.mark.parametrize("command", ["show", "revert"])
def test_another_records_damage_is_no_matter(run: Any, held: list[str], command: str) -> None:
    with sqlite3.connect(Path("edits") / database.NAME) as db:
        db.execute("UPDATE edits SET positives = '{' WHERE id = ?", (held[0],))
    db.close()
    assert run("list").code == 1
    ran = run(command, held[1], "--json")
    assert (ran.code, ran.json["id"]) == (0, held[1])
    if command == "revert":
        assert ran.json["active"] == 2
