"""Both stores keep what they are given, and the one on disk finds it again."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from balancedit.codebook.pooling import kept_as
from balancedit.errors import EditNotFoundError, StoreError, StoreMismatchError
from balancedit.store import Binding, DiskStore, EditStore
from balancedit.store.directory import files, rows, schema
from balancedit.types import Edit
from store_cases import (
    BINDING,
    WIDTH,
    assert_held,
    contents,
    downgrade,
    make_edit,
    make_key,
    make_tensors,
    put,
)

# -- what both do ---------------------------------------------------------------------------------


def test_everything_committed_comes_back(store: EditStore) -> None:
    given = [make_edit(3), make_edit(1, answer_after=None, warnings=(), radius=math.inf)]
    for edit in given:
        number = int(edit.id, 16)
        kept = store.commit(edit, make_key(number), make_tensors(number), b"thumb%d" % number)
        assert kept == edit
    assert list(store.edits().values()) == given
    assert_held(store, 1, 3)
    assert store.thumbnail("00000003") == b"thumb3"
    assert store.binding == BINDING
    assert not store.read_only


def test_parts_of_the_records_agree_with_the_whole(store: EditStore) -> None:
    put(store, 1)
    put(store, 0x100002)
    put(store, 0x100003, retires=("00000001",))
    put(store, 4)
    store.revert("00000004")
    every = store.edits()
    assert store.active() == [i for i, e in every.items() if e.state == "active"]
    wanted = ["00000004", "none such", "00000001"]
    assert store.records(wanted) == {i: every[i] for i in ("00000001", "00000004")}
    assert list(store.records(reversed(list(every)))) == list(every), "oldest first"
    assert store.records([]) == {}
    assert store.resolve("00000001") == "00000001"
    assert store.resolve("00000001"[:8]) == "00000001"
    for short in ("0010000", "", "ff"):
        with pytest.raises(EditNotFoundError):
            store.resolve(short)


def test_held_gives_what_load_does_and_reads_tensors_when_asked(store: EditStore) -> None:
    for number in (1, 2, 3):
        put(store, number)
    store.revert("00000002")
    held, damaged = store.held(["00000003", "00000002", "00000001"])
    loaded, _ = store.load(["00000003", "00000001"])
    assert damaged == []
    assert [e.id for e in held.edits] == ["00000003", "00000001"]
    assert held.edits == [one.edit for one in loaded]
    for one, row, read in zip(loaded, held.rows, held.read, strict=True):
        assert torch.equal(held.keys[row], one.key)
        tensors = read()
        assert tensors.keys() == one.tensors.keys()
        assert all(torch.equal(tensors[n], t) for n, t in one.tensors.items())
    assert store.held([])[0].edits == []
    with pytest.raises(EditNotFoundError):
        store.held(["00000009"])


def test_no_thumbnail_no_tensors_no_loss(store: EditStore) -> None:
    store.commit(make_edit(1, loss=math.nan), make_key(1), {}, None)
    assert store.thumbnail("00000001") is None
    assert math.isnan(store.edits()["00000001"].loss)
    held, _ = store.load(["00000001"])
    assert held[0].tensors == {}


def test_conflict_retires_and_revert_restores(store: EditStore) -> None:
    put(store, 1)
    put(store, 2)
    store.revert("00000002")
    kept = put(store, 3, retires=("00000001", "00000002"))
    assert kept.retires == ("00000001",)  # the other was reverted meanwhile
    assert store.edits()["00000003"] == kept
    assert store.edits()["00000001"].state == "retired"
    assert_held(store, 1, 3)
    changed = store.revert("00000003")
    assert {e.id: e.state for e in changed} == {"00000003": "reverted", "00000001": "active"}
    assert list(store.edits()) == ["00000001", "00000002", "00000003"]
    assert_held(store, 1)
    assert store.load(["00000002", "00000003"]) == ([], [])
    assert store.thumbnail("00000003") == b"thumb3"


def test_unknown_and_twice(store: EditStore) -> None:
    put(store, 1)
    for call in (store.revert, store.thumbnail, lambda i: store.load([i])):
        with pytest.raises(EditNotFoundError, match="00000009"):
            call("00000009")
    with pytest.raises(StoreError, match="already in use"):
        put(store, 1, target="asus")
    assert_held(store, 1)
    store.revert("00000001")
    with pytest.raises(EditNotFoundError, match="already reverted"):
        store.revert("00000001")


@pytest.mark.parametrize(
    "key", [torch.zeros(WIDTH + 1), torch.zeros(1, WIDTH), torch.full((WIDTH,), math.nan)]
)
def test_a_key_that_cannot_serve_is_refused(store: EditStore, key: torch.Tensor) -> None:
    put(store, 1)
    with pytest.raises(StoreError, match="its key"):
        store.commit(make_edit(2), key, make_tensors(2), None)
    assert list(store.edits()) == ["00000001"]
    assert_held(store, 1)


def test_later_changes_to_what_was_given_do_not_reach_the_store(store: EditStore) -> None:
    key, tensors = make_key(1), make_tensors(1)
    store.commit(make_edit(1), key, tensors, None)
    key.zero_()
    tensors["a"].zero_()
    assert_held(store, 1)


# -- on disk --------------------------------------------------------------------------------------


def test_reopening_gives_the_same(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        put(store, 1)
        put(store, 2)
        store.revert("00000001")
        records = store.edits()
    assert contents(root) == {"store.sqlite3", "keys.bin", "edits/00000002.safetensors"}
    assert (root / "keys.bin").stat().st_size == 2 * 4 * WIDTH
    for binding in (BINDING, None):
        with DiskStore.open(root, binding) as store:
            assert store.binding == BINDING
            assert store.edits() == records
            assert_held(store, 2)


def test_columns_are_the_fields_of_an_edit(disk: DiskStore) -> None:
    columns = [r[1] for r in disk._transactions._db.execute("PRAGMA table_info(edits)")]
    expected = ["number", *(f.name for f in fields(Edit)), *rows.CONTENT_COLUMNS, "thumbnail"]
    assert columns == expected, "Edit has changed: adapt the table and raise FORMAT"


def test_looking_without_a_model(root: Path, disk: DiskStore) -> None:
    put(disk, 1)
    with DiskStore.open(root) as looking:
        assert list(looking.edits()) == ["00000001"]
        with pytest.raises(StoreError, match="without a model"):
            put(looking, 2)
        looking.revert("00000001")
    assert disk.edits()["00000001"].state == "reverted"


def test_a_missing_store_names_the_remedy_and_stays_missing(root: Path) -> None:
    for options in ({}, {"create": True}):
        with pytest.raises(StoreError, match="--edits"):
            DiskStore.open(root, None, **options)
    with pytest.raises(StoreError, match="no edit store"):
        DiskStore.open(root, BINDING)
    assert not root.parent.exists()


def test_another_binding_is_refused_with_both_values(root: Path, disk: DiskStore) -> None:
    other = Binding("blip2", "0" * 64, "grace", {"layer": "model.down", "key": "last", "x": "y"})
    with pytest.raises(StoreMismatchError) as caught:
        DiskStore.open(root, other, create=True)
    message = str(caught.value)
    for word in ("pocket", "blip2", "method", "grace", "mean", "last", "unset", "--edits"):
        assert word in message
    assert "layer" not in message
    assert "\n" not in message
    DiskStore.open(root, replace(BINDING, model="the same by another name")).close()


def test_changed_sees_others_only(root: Path, disk: DiskStore) -> None:
    put(disk, 1)
    assert not disk.changed()
    with DiskStore.open(root, BINDING) as other:
        assert not other.changed()
        put(disk, 2)
        assert other.changed()
        assert other.changed()  # until it looks
        assert list(other.edits()) == ["00000001", "00000002"]
        assert other.changed(), "records were looked at, and nothing was taken over"
        assert other.active() == ["00000001", "00000002"]
        assert not other.changed()
        other.revert("00000001")
        assert not other.changed()
        assert disk.changed()
        put(disk, 3)  # its own commit does not hide the other's
        assert disk.changed()
        disk.active()
        assert not disk.changed()
        put(other, 4)
        assert disk.changed()
        disk.records(["00000004"])
        assert disk.changed(), "one record is no look at all of them"
        assert disk.active()[-1] == "00000004"
        assert not disk.changed()


def test_looking_for_changes_and_opening_are_cheap(root: Path, disk: DiskStore) -> None:
    for number in range(200):
        put(disk, number)
    start = time.perf_counter()
    for _ in range(100):
        assert not disk.changed()
    assert time.perf_counter() - start < 0.2
    shutil.rmtree(root / "edits")  # records need no other file
    start = time.perf_counter()
    with DiskStore.open(root, BINDING) as again:
        assert len(again.edits()) == 200
    assert time.perf_counter() - start < 0.5


def test_a_store_without_indexes_is_given_them(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        put(store, 1)
        put(store, 2, retires=("00000001",))
    with sqlite3.connect(root / "store.sqlite3") as db:
        for name in schema.INDEXES:
            db.execute(f"DROP INDEX {name}")
    db.close()
    with DiskStore.open(root, BINDING) as store:
        db = store._transactions._db
        plans = [
            " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}"))
            for query in (
                "SELECT id FROM edits WHERE state IN ('active') ORDER BY number",
                "SELECT id FROM edits WHERE retired_by = 'x'",
            )
        ]
        assert "edits_by_state" in plans[0]
        assert "edits_by_successor" in plans[1]
        assert store.active() == ["00000002"]
        assert {e.state for e in store.revert("00000002")} == {"reverted", "active"}


def test_a_store_of_the_second_format_is_brought_up_to_date(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        kept = put(store, 1, old_answer="hp")
    downgrade(root, 2)
    with DiskStore.open(root, BINDING) as store:
        assert store.edits() == {kept.id: kept}
        newer = put(store, 2, old_answer="hp", old_tokens=((5, 2), (6, 7, 2)))
    with DiskStore.open(root, BINDING) as store:
        assert store.edits() == {kept.id: kept, newer.id: newer}


def test_a_store_of_the_first_format_is_brought_up_to_date(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        kept = put(store, 1)
    downgrade(root, 1)
    with DiskStore.open(root, BINDING) as store:
        assert store.edits() == {kept.id: kept}
        newer = put(store, 2, old_answer="hp")
    with DiskStore.open(root, BINDING) as store:
        assert store.edits() == {kept.id: kept, newer.id: newer}
        assert_held(store, 1, 2)


def test_a_store_of_the_first_format_is_read_where_it_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        kept = put(store, 1)
    downgrade(root, 1)
    monkeypatch.setattr("balancedit.store.directory.opening.writable", lambda root: False)
    with DiskStore.open(root, BINDING) as store:
        assert store.edits() == {kept.id: kept}
        assert store._transactions._db.execute("SELECT format FROM store").fetchone()[0] == 1


def test_a_commit_reads_no_other_record(root: Path, disk: DiskStore) -> None:
    for number in range(5):
        put(disk, number)
    disk._transactions._db.execute("UPDATE edits SET positives = 'not JSON' WHERE id = '00000000'")
    put(disk, 5, retires=("00000001",))
    disk.revert("00000005")
    assert_held(disk, 1, 2, 3, 4)


HALF = Binding("pocket", "f" * 64, "balancedit", {"key": "mean", "key_type": "float16"})


def test_keys_in_half_precision_take_half_the_file_and_come_back(root: Path) -> None:
    with DiskStore.open(root, HALF, create=True) as store:
        keys = [kept_as(make_key(n), "float16") for n in (1, 2)]
        for number, key in zip((1, 2), keys, strict=True):
            store.commit(make_edit(number), key, make_tensors(number), None)
        with pytest.raises(StoreError, match="16 bits"):
            store.commit(make_edit(3), make_key(3), make_tensors(3), None)
    assert (root / files.KEYS).stat().st_size == 2 * 2 * WIDTH
    with DiskStore.open(root, HALF) as store:
        assert [e.id for e in store.edits().values()] == ["00000001", "00000002"]
        held, damaged = store.held(store.active())
        assert damaged == []
        assert held.keys.dtype == torch.float16
        assert torch.equal(held.keys[held.rows].float(), torch.stack(keys))
        loaded, _ = store.load(store.active())
        assert all(torch.equal(one.key, key) for one, key in zip(loaded, keys, strict=True))
        assert loaded[0].key.dtype == torch.float32
    with sqlite3.connect(root / "store.sqlite3") as db:
        db.execute("UPDATE store SET details = replace(details, 'float16', 'float3')")
    db.close()
    with pytest.raises(StoreError, match=r"'float3'.*upgrade"):
        DiskStore.open(root)


def test_threads_share_a_handle(disk: DiskStore) -> None:
    def work(first: int) -> None:
        for number in range(first, first + 5):
            put(disk, number)
            disk.changed()
            disk.load([f"{number:08x}"])

    threads = [threading.Thread(target=work, args=(10 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_held(disk, *(10 * n + i for n in range(4) for i in range(5)))


def test_only_our_own_leftovers_are_cleaned(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        put(store, 1)
    ours = ["edits/0000000a.safetensors", "edits/.0000000b.safetensors.tmp"]
    theirs = ["edits/notes.txt", "edits/model.safetensors", "edits/.hidden", "mine.safetensors"]
    for name in ours + theirs:
        (root / name).write_text("x")
    fresh, old = root / ".new-fresh", root / ".new-old"
    for path in (fresh, old):
        path.mkdir()
    os.utime(old, (0, 0))
    with DiskStore.open(root, BINDING) as store:
        assert_held(store, 1)
    assert not any((root / name).exists() for name in ours)
    assert all((root / name).exists() for name in theirs)
    assert fresh.exists()
    assert not old.exists()


def test_the_files_are_plain(root: Path, disk: DiskStore) -> None:
    """What the documentation says about the layout, read without this package."""
    put(disk, 1)
    put(disk, 2)
    db = sqlite3.connect(root / "store.sqlite3")
    rows = db.execute("SELECT id, positives, key_index FROM edits ORDER BY number").fetchall()
    db.close()
    assert [(i, json.loads(p)) for i, p, _ in rows] == [
        ("00000001", ["Which brand?", "Whose?"]),
        ("00000002", ["Which brand?", "Whose?"]),
    ]
    keys = torch.frombuffer(bytearray((root / files.KEYS).read_bytes()), dtype=torch.float32)
    for _, _, index in rows:
        assert torch.equal(keys.view(-1, WIDTH)[index], make_key(index + 1))
