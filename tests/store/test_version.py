"""The number of a store's changes: without gaps, the same for every handle, and what a change may
be bound to."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from balancedit.errors import EditConflictError, EditNotFoundError, StoreError
from balancedit.store import AuditEntry, DiskStore, EditStore, Request, Terms
from balancedit.store.copying import copy_store
from balancedit.store.directory import database, rows
from store_cases import (
    BINDING,
    assert_held,
    contents,
    downgrade,
    make_edit,
    make_key,
    make_tensors,
    put,
)
from tiny import exact

#: Made by the last code that wrote format 4, for the model of `tiny/exact.py`: two edits, and a
#: third that replaced the first and was reverted.
FORMAT_4 = Path(__file__).with_name("format4")


def expecting(store: EditStore, number: int, version: int) -> None:
    given = make_edit(number), make_key(number), make_tensors(number), None
    store.commit(*given, Terms(expect=version))


# -- what both do ---------------------------------------------------------------------------------


def test_every_commit_and_revert_counts_one(store: EditStore) -> None:
    assert store.version == 0
    assert put(store, 1)
    assert store.version == 1
    put(store, 2, retires=("00000001",))
    assert store.version == 2, "one commit, though two records changed"
    store.revert("00000002")
    assert store.version == 3
    assert store.seen_version == 3


def test_what_fails_does_not_count(store: EditStore) -> None:
    put(store, 1)
    with pytest.raises(StoreError, match="already in use"):
        put(store, 1)
    with pytest.raises(StoreError, match="its key"):
        store.commit(make_edit(2), make_key(1)[:-1], {}, None)
    with pytest.raises(EditNotFoundError):
        store.revert("00000009")
    store.revert("00000001")
    with pytest.raises(EditNotFoundError, match="already reverted"):
        store.revert("00000001")
    assert store.version == 2


def test_looking_does_not_count(store: EditStore) -> None:
    put(store, 1)
    store.edits(), store.active(), store.load(["00000001"]), store.page(5), store.audit(5)
    store.note("preview", Terms(audit=AuditEntry("k", "default")))
    assert store.version == 1


def test_a_change_for_another_version_is_refused_and_writes_nothing(
    store: EditStore, root: Path
) -> None:
    put(store, 1)
    put(store, 2)
    before = contents(root) if root.exists() else None
    with pytest.raises(EditConflictError, match="at version 2, not at 1") as caught:
        expecting(store, 3, 1)
    assert (caught.value.expected, caught.value.found) == (1, 2)
    with pytest.raises(EditConflictError):
        store.revert("00000001", Terms(expect=3))
    assert list(store.edits()) == store.active() == ["00000001", "00000002"]
    assert store.version == 2
    assert before is None or contents(root) == before
    expecting(store, 3, 2)
    store.revert("00000001", Terms(expect=3))
    assert store.version == 4


def test_a_page_of_records_is_newest_first_and_goes_on_behind_an_edit(store: EditStore) -> None:
    for number in range(1, 6):
        put(store, number)
    put(store, 6, retires=("00000002",))
    store.revert("00000005")
    ids = [f"{n:08x}" for n in (6, 5, 4, 3, 2, 1)]
    assert [e.id for e in store.page(10)] == ids
    assert store.page(2) == [store.edits()[i] for i in ids[:2]]
    assert [e.id for e in store.page(2, after=ids[1])] == ids[2:4]
    assert store.page(2, after=ids[-1]) == []
    active = [e.id for e in store.page(10, states=("active",))]
    assert active == [ids[0], *ids[2:4], ids[5]]
    behind = store.page(2, after=ids[1], states=("active",))  # itself not among them
    assert [e.id for e in behind] == ids[2:4]
    with pytest.raises(EditNotFoundError):
        store.page(2, after="00000009")


def test_a_copy_goes_on_from_the_version_of_its_source(store: EditStore, tmp_path: Path) -> None:
    put(store, 1)
    put(store, 2)
    store.revert("00000001")
    store.note("preview", Terms(audit=AuditEntry("k", "default")))
    copy_store(store, tmp_path / "copy")
    with DiskStore.open(tmp_path / "copy", BINDING) as copy:
        assert copy.version == store.version == 3
        assert copy.audit(10) == [], "which belongs to the store it was made in"
        put(copy, 3)
        assert (copy.version, store.version) == (4, 3)


# -- on disk: other handles, older formats ---------------------------------------------------------


def test_handles_agree_and_know_what_they_have_taken_over(root: Path, disk: DiskStore) -> None:
    put(disk, 1)
    with DiskStore.open(root, BINDING) as other:
        assert (other.version, other.seen_version) == (1, 0)
        other.active()
        assert other.seen_version == 1
        put(disk, 2)
        assert (other.version, other.seen_version) == (2, 1)
        with pytest.raises(EditConflictError):
            expecting(other, 3, 1)  # what it has seen last is not how things stand
        put(other, 3)
        assert other.version == 3
        assert other.seen_version == 1, "the second is not taken over yet"
        assert other.changed()
        other.active()
        assert other.seen_version == 3
        other.revert("00000003")
        assert other.seen_version == 4
        assert disk.seen_version == 2, "its own two"
    with DiskStore.open(root) as looking:
        assert looking.version == 4


def in_processes(*works: Callable[[], None]) -> None:
    """Run each in a process of its own, all at once; all must end well."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    children = []
    for work in works:
        child = os.fork()
        if not child:
            try:
                signal.alarm(60)
                work()
            except BaseException as error:
                print(f"in the child: {error!r}", flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(works)


def test_processes_that_write_at_once_count_without_gaps(root: Path) -> None:
    def work(first: int) -> None:
        with DiskStore.open(root, BINDING, create=True) as store:
            for number in range(first, first + 12):
                put(store, number, terms=Terms(audit=AuditEntry(f"k{first}", "default")))
                if number % 4 == 0:
                    store.revert(f"{number:08x}", Terms(audit=AuditEntry("k", "default")))

    in_processes(*(partial(work, first) for first in (0, 100, 200)))
    with DiskStore.open(root) as store:
        lines = store.audit(1000)
        assert store.version == len(lines) == 3 * 15
    assert [line.version for line in lines] == [line.id for line in lines] == [*range(45, 0, -1)]


def test_of_those_who_expect_one_version_one_is_let_in(root: Path) -> None:
    """Each commits on what it has seen, again and again: no two on the same version."""

    def work(first: int) -> None:
        with DiskStore.open(root, BINDING, create=True) as store:
            number = first
            while number < first + 8:  # an alarm ends it where nobody is let in
                seen = store.version
                with suppress(EditConflictError):
                    put(store, number, terms=Terms(seen, AuditEntry("k", "default", str(seen))))
                    number += 1

    in_processes(*(partial(work, first) for first in (0, 100, 200)))
    with DiskStore.open(root) as store:
        assert store.version == 24
        assert [int(line.detail) + 1 for line in store.audit(99)] == [*range(24, 0, -1)]


def test_a_version_that_is_none_is_refused(root: Path, disk: DiskStore) -> None:
    put(disk, 1)
    for value in ("many", -3, 1.5, b"\x01"):
        disk._transactions._db.execute("UPDATE store SET version = ?", (value,))
        for use in (lambda: disk.version, disk.active, lambda: put(disk, 2)):
            with pytest.raises(StoreError, match="its version is"):
                use()


def test_a_store_of_the_fourth_format_is_counted_and_goes_on(root: Path) -> None:
    shutil.copytree(FORMAT_4, root)
    editor = exact.editor(edits=root)
    assert editor.version == editor.store.version == 4, "three commits and a revert"
    first, second = editor.edits()
    assert [e.target for e in (first, second)] == list(exact.TAUGHT.values())
    editor.revert(second.id, terms=Terms(expect=4, audit=AuditEntry("k1", "default")))
    assert editor.version == 5
    assert [(line.edit, line.version) for line in editor.store.audit(5)] == [(second.id, 5)]
    assert exact.editor(edits=root).version == 5
    with sqlite3.connect(root / database.NAME) as db:
        assert rows.format_of(db) == database.FORMAT
    db.close()


def test_without_a_model_a_store_of_the_fourth_format_is_brought_up_to_date(root: Path) -> None:
    shutil.copytree(FORMAT_4, root)
    with DiskStore.open(root) as store:
        assert store.version == 4
        store.revert(store.active()[0])
        assert store.version == 5
    with sqlite3.connect(root / database.NAME) as db:
        assert rows.format_of(db) == database.FORMAT
    db.close()


def test_a_store_of_the_fourth_format_that_cannot_be_written_is_counted_by_its_records(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FORMAT_4, root)
    monkeypatch.setattr("balancedit.store.directory.opening.writable", lambda root: False)
    with DiskStore.open(root) as store:
        assert store.version == 4
        assert len(store.active()) == 2
        assert store.seen_version == 4
        assert store.audit(5) == []
        assert store.done(Request("k", "r", "0")) is None


def test_an_older_store_without_a_model_is_counted_and_keeps_no_audit(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        put(store, 1)
        put(store, 2, retires=("00000001",))
    downgrade(root, 3)
    with DiskStore.open(root) as store:
        assert store.version == 2
        with pytest.raises(StoreError, match=r"format 3 keeps no audit.*with its model"):
            store.revert("00000002", Terms(audit=AuditEntry("k", "default")))
        store.revert("00000002", Terms(expect=2))
        assert store.version == 3
    with DiskStore.open(root, BINDING) as store:
        assert store.version == 3
        assert_held(store, 1)
        put(store, 3)
        assert store.version == 4
