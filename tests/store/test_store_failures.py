"""Damaged files, full disks, missing permissions: the store says what is wrong and survives it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from balancedit.errors import DamagedEditError, EditNotFoundError, StoreError
from balancedit.store import DiskStore
from balancedit.store.directory import database, opening
from balancedit.store.directory import store as module
from store_cases import (
    BINDING,
    WIDTH,
    assert_held,
    contents,
    make_edit,
    make_key,
    put,
)

# -- damage --------------------------------------------------------------------------------------


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


DAMAGES: list[tuple[Callable[[Path, Path], object], str]] = [
    (lambda t, k: flip(t, -1), "checksum"),
    (lambda t, k: cut(t, 20), "20 bytes"),
    (lambda t, k: t.unlink(), "missing"),
    (lambda t, k: (t.unlink(), t.mkdir()), "cannot be read"),
    (lambda t, k: flip(k, 4 * WIDTH + 1), "keys.bin"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_damaged_edit_is_named_and_the_others_work(
    root: Path, disk: DiskStore, damage: Callable[[Path, Path], object], said: str
) -> None:
    for number in (1, 2, 3):
        put(disk, number)
    damage(root / "edits" / "00000002.safetensors", root / "keys.bin")
    held, damaged = disk.load(disk.edits())
    assert [h.edit.id for h in held] == ["00000001", "00000003"]
    assert [d.id for d in damaged] == ["00000002"]
    assert said in damaged[0].reason
    assert "revert" in damaged[0].reason
    disk.revert("00000002")
    assert disk.load(disk.edits())[1] == []


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_held_names_what_load_names(
    root: Path, disk: DiskStore, damage: Callable[[Path, Path], object], said: str
) -> None:
    for number in (1, 2, 3):
        put(disk, number)
    damage(root / "edits" / "00000002.safetensors", root / "keys.bin")
    held, damaged = disk.held(disk.active())
    assert [e.id for e in held.edits] == ["00000001", "00000003"]
    assert damaged == disk.load(disk.active())[1]
    assert said in damaged[0].reason


LATE = [True, False, False, False, False]  # which of them only the content shows


@pytest.mark.parametrize(
    ("damage", "late"), [(d, at) for (d, _), at in zip(DAMAGES, LATE, strict=True)]
)
def test_in_a_large_store_content_is_checked_when_it_is_read(
    root: Path,
    disk: DiskStore,
    damage: Callable[[Path, Path], object],
    late: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in (1, 2, 3):
        put(disk, number)
    monkeypatch.setattr(module, "CHECKED_EDITS", 2)
    damage(root / "edits" / "00000002.safetensors", root / "keys.bin")
    held, damaged = disk.held(disk.active())
    assert [d.id for d in damaged] == ([] if late else ["00000002"])
    assert len(held.edits) + len(damaged) == 3
    good = {e.id: read for e, read in zip(held.edits, held.read, strict=True)}
    assert good["00000001"]()["n"] == 1
    if late:
        with pytest.raises(DamagedEditError, match=r"00000002.*checksum.*revert"):
            good["00000002"]()
        disk.revert("00000002")
    (root / "edits" / "00000003.safetensors").unlink()
    with pytest.raises(DamagedEditError, match=r"00000003.*missing"):
        good["00000003"]()


def test_an_edit_reverted_before_it_is_read_is_not_damaged(root: Path, disk: DiskStore) -> None:
    put(disk, 1)
    (read,) = disk.held(["00000001"])[0].read
    with DiskStore.open(root, BINDING) as other:
        other.revert("00000001")
    with pytest.raises(EditNotFoundError, match="reverted"):
        read()


def test_keys_taken_over_stay_when_more_are_written(root: Path, disk: DiskStore) -> None:
    for number in (1, 2):
        put(disk, number)
    held, _ = disk.held(disk.active())
    put(disk, 3)
    disk.revert("00000001")
    assert torch.equal(held.keys[held.rows], torch.stack([make_key(1), make_key(2)]))


def test_a_keys_file_cut_short_loses_its_end_only(root: Path, disk: DiskStore) -> None:
    for number in (1, 2):
        put(disk, number)
    cut(root / "keys.bin", 4 * WIDTH + 7)
    put(disk, 3)
    _, damaged = disk.load(disk.edits())
    assert [d.id for d in damaged] == ["00000002"]
    assert_held(disk, 1, 3)
    (root / "keys.bin").unlink()
    assert len(disk.load(disk.edits())[1]) == 3


def test_a_broken_or_foreign_database_names_file_and_remedy(root: Path) -> None:
    DiskStore.open(root, BINDING, create=True).close()
    path = root / "store.sqlite3"
    good = path.read_bytes()
    broken = [b"", b"not a database" * 99, good[:4096], good[:100] + bytes(len(good) - 100)]
    for data in broken:
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"store\.sqlite3.*--edits"):
            DiskStore.open(root, BINDING, create=True)
        assert path.read_bytes() == data
    for statement, said in [
        ("UPDATE store SET format = 99", "format 99.*upgrade"),
        ("DELETE FROM store", "damaged"),
        ("UPDATE store SET details = '{'", "damaged"),
        ("DROP TABLE store", "damaged or not an edit store"),
    ]:
        path.write_bytes(good)
        with sqlite3.connect(path) as db:
            db.execute(statement)
        db.close()
        with pytest.raises(StoreError, match=said):
            DiskStore.open(root, BINDING)


def test_a_damaged_record_is_a_store_error(disk: DiskStore) -> None:
    put(disk, 1)
    disk._transactions._db.execute("UPDATE edits SET positives = '[\"cut'")
    with pytest.raises(StoreError, match="00000001"):
        disk.edits()


def test_a_hostile_id_reaches_no_file_outside(root: Path, disk: DiskStore) -> None:
    with pytest.raises(StoreError, match="0-9"):
        disk.commit(make_edit(1, id="../../x"), make_key(1), {}, None)
    put(disk, 1)
    victim = root / "victim.safetensors"
    victim.write_bytes(b"precious")
    disk._transactions._db.execute("UPDATE edits SET id = '../victim'")
    with pytest.raises(StoreError):
        disk.revert("../victim")
    assert victim.exists()


def test_a_text_that_is_no_text_leaves_nothing(root: Path, disk: DiskStore) -> None:
    with pytest.raises(StoreError, match="text"):
        put(disk, 1, target="\udc80")
    assert disk.edits() == {}
    assert contents(root) <= {"store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm", "keys.bin"}


# -- full, read-only, busy ------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(3))
def test_a_disk_that_fills_up_at_any_sync_keeps_nothing_of_the_edit(
    root: Path, disk: DiskStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    put(disk, 1)
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == step + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match=r"00000002.*disk is full.*--edits"):
        put(disk, 2)
    assert list(disk.edits()) == ["00000001"]
    assert {n for n in contents(root) if n.startswith("edits")} == {"edits/00000001.safetensors"}
    calls[:] = [0] * 9
    put(disk, 3)
    assert len(calls) == 9 + 3  # the tensor file, its directory, the keys: each was made to fail
    assert_held(disk, 1, 3)


def test_a_really_full_disk(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        with DiskStore.open(small / "edits", BINDING, create=True) as store:
            kept, message = 0, ""
            while not message and kept < 100:
                big = {"w": torch.full((10_000,), float(kept))}
                try:
                    store.commit(make_edit(kept), make_key(kept), big, bytes(3000))
                    kept += 1
                except StoreError as error:
                    message = str(error)
            assert "full" in message
            assert 0 < kept < 20
            held, damaged = store.load(store.edits())
            assert len(held) == kept
            assert damaged == []
            assert len(list((small / "edits" / "edits").iterdir())) == kept
            store.revert("00000000")  # makes room
        (small / "filler").write_bytes(b"")
        with open(small / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(512)):
                pass
        with pytest.raises(StoreError, match=r"full|free space"):
            DiskStore.open(small / "new" / "edits", BINDING, create=True)
        assert not (small / "new").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_first_open_that_fails_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(database, "sync_directory", fail)
    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StoreError, match="full"):
        DiskStore.open(root, BINDING, create=True)
    assert not root.parent.exists()


def test_no_hard_links_is_no_obstacle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    with DiskStore.open(root, BINDING, create=True) as store:
        put(store, 1)
    assert not list(root.glob(".new*"))


def test_a_path_that_is_or_passes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "edits"):
        with pytest.raises(StoreError, match=r"is a file.*--edits"):
            DiskStore.open(path, BINDING, create=True)
    assert file.read_text() == "mine"


def as_nobody(work: Callable[[Path], None], *, prepare: Callable[[Path], None]) -> None:
    """Run `work` on a directory that `prepare` filled and made read-only, in a child that is not
    root, for whom permissions count."""
    root = Path(tempfile.mkdtemp())
    try:
        root.chmod(0o755)
        prepare(root)
        child = os.fork()
        if not child:
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                work(root)
            except BaseException as error:
                print(f"in the child: {error!r}", flush=True)
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(root)


def shut(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    root.chmod(0o555)


def test_a_read_only_store_can_be_read_and_says_no_to_more() -> None:
    def prepare(root: Path) -> None:
        with DiskStore.open(root, BINDING, create=True) as store:
            put(store, 1)
            put(store, 2)
        shut(root)

    def work(root: Path) -> None:
        for binding in (BINDING, None):
            with DiskStore.open(root, binding, create=True) as store:
                assert store.read_only
                assert_held(store, 1, 2)
                assert not store.changed()
                assert store.thumbnail("00000001") == b"thumb1"
                with pytest.raises(StoreError, match=r"read-only|without a model"):
                    put(store, 3)
                with pytest.raises(StoreError, match=r"read-only.*--edits"):
                    store.revert("00000001")
        with pytest.raises(StoreError, match="permission"):
            DiskStore.open(root / "new", BINDING, create=True)

    as_nobody(work, prepare=prepare)


def test_a_read_only_copy_of_a_store_in_use_is_not_read_without_its_log() -> None:
    def prepare(root: Path) -> None:
        with DiskStore.open(root / "source", BINDING, create=True) as store:
            put(store, 1)
            shutil.copytree(root / "source", root / "copy")
        (root / "copy" / "store.sqlite3-shm").unlink()
        shut(root / "copy")

    def work(root: Path) -> None:
        with pytest.raises(StoreError, match=r"copied while in use.*list"):
            DiskStore.open(root / "copy", BINDING)

    as_nobody(work, prepare=prepare)


def test_a_read_only_reader_follows_a_live_writer_and_a_replaced_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DiskStore.open(root, BINDING, create=True).close()
    real = database._connect

    def no_shared_memory(where: Path, options: str) -> sqlite3.Connection:
        if options == "mode=ro":
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorname = "SQLITE_CANTOPEN"
            raise error
        return real(where, options)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "writable", lambda root: False)
        patch.setattr(database, "_connect", no_shared_memory)
        replica = DiskStore.open(root, BINDING)
    with DiskStore.open(root, BINDING) as store:
        put(store, 1)
    assert replica.changed()
    assert list(replica.edits()) == ["00000001"]
    assert_held(replica, 1)
    replica.close()


def test_unreadable_files_are_an_error_or_damage() -> None:
    def prepare(root: Path) -> None:
        for name in ("tensors", "database"):
            with DiskStore.open(root / name, BINDING, create=True) as store:
                put(store, 1)
        (root / "tensors/edits/00000001.safetensors").chmod(0)
        (root / "database/store.sqlite3").chmod(0)

    def work(root: Path) -> None:
        with DiskStore.open(root / "tensors", BINDING) as store:
            assert "Permission denied" in store.load(["00000001"])[1][0].reason
        with pytest.raises(StoreError, match="permissions"):
            DiskStore.open(root / "database", BINDING)

    as_nobody(work, prepare=prepare)


def test_a_store_that_stays_locked_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, disk: DiskStore
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with DiskStore.open(root, BINDING) as other:
        disk._transactions._db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process"):
            put(other, 1)
        assert other.edits() == {}  # readers are not held up
        disk._transactions._db.execute("ROLLBACK")
        put(other, 1)
    assert_held(disk, 1)


def test_a_closed_handle_says_so(disk: DiskStore) -> None:
    disk.close()
    for call in (disk.edits, disk.changed, lambda: put(disk, 1)):
        with pytest.raises(StoreError, match="closed"):
            call()
    disk.close()
