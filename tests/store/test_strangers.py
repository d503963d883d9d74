"""A store that somebody else made: what may lie in its place, and what may be in it, is looked at
before anything is read, written or deleted."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from balancedit.errors import StoreError
from balancedit.files import durable
from balancedit.files.durable import digest, sync_directory, write_durably
from balancedit.store import AuditEntry, DiskStore, MemoryStore, Request, Terms
from balancedit.store.copying import copy_store
from balancedit.store.directory import files
from store_cases import BINDING, WIDTH, make_edit, make_key, put

NAMES = ("00000001", "00000002")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX files")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A closed store of two edits."""
    root = tmp_path / "store"
    with DiskStore.open(root, BINDING, create=True) as store:
        put(store, 1)
        put(store, 2)
    return root


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Somebody's own directory, which must stay as it is."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("00000001.safetensors", "abcdef12.safetensors", "precious"):
        (folder / name).write_bytes(b"mine")
    yield folder
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == dict.fromkeys(
        ("00000001.safetensors", "abcdef12.safetensors", "precious"), b"mine"
    )


def tensors(root: Path) -> Path:
    return root / "edits" / "00000001.safetensors"


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to(target: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return make


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


IN_THE_PLACE = [
    (pipe, "named pipe"),
    (link_to("/dev/zero"), "a link"),
    (link_to("/nowhere/at/all"), "a link"),
    (directory, "a directory"),
]


@pytest.mark.parametrize(("place", "said"), IN_THE_PLACE)
def test_what_is_no_file_is_a_damaged_edit(
    root: Path, place: Callable[[Path], None], said: str
) -> None:
    place(tensors(root))
    with DiskStore.open(root, BINDING) as store:
        (damaged,) = store.load(NAMES)[1]
        assert damaged.id == "00000001"
        assert said in damaged.reason
        assert store.held(NAMES)[1] == [damaged]
        assert [e.edit.id for e in store.load(NAMES)[0]] == ["00000002"]
        store.revert("00000001")  # and that is the way out


@pytest.mark.parametrize(("place", "said"), IN_THE_PLACE)
@pytest.mark.parametrize("name", ["store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"])
def test_a_database_that_is_no_file_is_refused(
    root: Path, name: str, place: Callable[[Path], None], said: str
) -> None:
    (root / name).touch()
    place(root / name)
    if name == "store.sqlite3" and said == "a link" and not (root / name).exists():
        said = "no edit store"  # a link to nothing, where nothing is created
    with pytest.raises(StoreError, match=said):
        DiskStore.open(root, BINDING)


@pytest.mark.parametrize(("place", "said"), IN_THE_PLACE)
def test_keys_that_are_no_file_are_damaged_and_not_written_to(
    root: Path, place: Callable[[Path], None], said: str
) -> None:
    place(root / files.KEYS)
    with DiskStore.open(root, BINDING) as store:
        assert [d.id for d in store.load(NAMES)[1]] == list(NAMES)
        assert [d.id for d in store.held(NAMES)[1]] == list(NAMES)
        with pytest.raises(StoreError, match="cannot keep edit"):
            put(store, 3)
        assert list(store.edits()) == list(NAMES)


def test_a_linked_keys_file_is_not_written_through(root: Path, elsewhere: Path) -> None:
    link_to(str(elsewhere / "precious"))(root / files.KEYS)
    with (
        DiskStore.open(root, BINDING) as store,
        pytest.raises(StoreError, match="a link, not a regular file"),
    ):
        put(store, 3)


def test_a_linked_directory_of_tensors_is_left_alone(root: Path, elsewhere: Path) -> None:
    for path in (root / "edits").iterdir():
        path.unlink()
    (root / "edits").rmdir()
    (root / "edits").symlink_to(elsewhere)
    with DiskStore.open(root, BINDING) as store:  # sweeps what belongs to no edit
        assert [d.id for d in store.load(NAMES)[1]] == list(NAMES)
        with pytest.raises(StoreError, match="a link, not a directory"):
            put(store, 3)
        store.revert("00000001")


def test_a_linked_temporary_file_is_not_written_through(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / ".made.tmp").symlink_to(elsewhere / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        write_durably(tmp_path / "made", b"new")


def test_the_directory_itself_may_be_the_users_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    with DiskStore.open(tmp_path / "link", BINDING) as store:
        put(store, 3)
        assert len(store.load(store.active())[0]) == 3


# -- what is in it --------------------------------------------------------------------------------


def change(root: Path, statement: str, *given: object) -> None:
    with sqlite3.connect(root / "store.sqlite3") as db:
        if given:
            db.execute(statement, given)
        else:
            db.executescript(statement)
    db.close()


def replace_tensors(root: Path, data: bytes) -> None:
    """Other tensors, with a record that fits them: a file that is correctly summed."""
    tensors(root).write_bytes(data)
    change(
        root,
        "UPDATE edits SET tensors_size = ?, tensors_sha256 = ? WHERE id = '00000001'",
        len(data),
        digest(data),
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_tensors_that_are_not_finite_are_damaged(root: Path, value: float) -> None:
    weight = torch.zeros(2, 3)
    weight[1, 2] = value
    replace_tensors(root, safetensors.torch.save({"weight": weight}))
    with DiskStore.open(root, BINDING) as store:
        (damaged,) = store.load(NAMES)[1]
        assert "tensor 'weight' holds numbers that are not finite" in damaged.reason
        with pytest.raises(StoreError, match="not finite"):
            store.held(NAMES)[0].read[0]()


@pytest.mark.parametrize("data", [b"no tensors", b"\xff" * 64, (2**40).to_bytes(8, "little")])
def test_bytes_that_are_no_tensors_are_damaged(root: Path, data: bytes) -> None:
    replace_tensors(root, data)
    with DiskStore.open(root, BINDING) as store:
        (damaged,) = store.load(NAMES)[1]
        assert "tensors cannot be read" in damaged.reason


def test_a_key_that_is_not_finite_is_damaged(root: Path) -> None:
    key = make_key(1).numpy().copy()
    key[0] = np.nan
    data = key.astype("<f4").tobytes()
    with open(root / files.KEYS, "r+b") as file:
        file.write(data)
    change(root, "UPDATE edits SET key_sha256 = ? WHERE id = '00000001'", digest(data))
    with DiskStore.open(root, BINDING) as store:
        for damaged in (store.load(NAMES)[1], store.held(NAMES)[1]):
            assert [d.id for d in damaged] == ["00000001"]
            assert "not finite" in damaged[0].reason


@pytest.mark.parametrize("size", [2**50, -1, 0])
def test_the_size_in_a_record_does_not_decide_how_much_is_read(root: Path, size: int) -> None:
    change(root, "UPDATE edits SET tensors_size = ? WHERE id = '00000001'", size)
    if size > 0:
        os.truncate(tensors(root), 2**33)  # sparse: takes no room on the disk
    with DiskStore.open(root, BINDING) as store:
        (damaged,) = store.load(NAMES)[1]
        assert "no edit's tensors have" in damaged.reason


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TRIGGER t AFTER UPDATE ON edits BEGIN DELETE FROM edits; END", "trigger 't'"),
        ("CREATE VIEW v AS SELECT * FROM edits", "view 'v'"),
        ("CREATE TABLE more (x)", "table 'more'"),
        ("CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM edits; END", "trigger 't'"),
        (
            "DROP TRIGGER audit_undeleted; CREATE TRIGGER audit_undeleted AFTER INSERT ON audit "
            "BEGIN UPDATE edits SET target = 'x'; END",
            "trigger 'audit_undeleted'",
        ),
        ("DROP TABLE requests; CREATE VIEW requests AS SELECT * FROM edits", "view 'requests'"),
        ("DROP TABLE audit; CREATE VIRTUAL TABLE audit USING rtree(a, b, c)", "table 'audit"),
        ("UPDATE store SET format = 'three'", "format"),
        ("UPDATE store SET details = '[1]'", "description"),
        ("UPDATE store SET details = '{'", "description"),
        ("UPDATE store SET model = x'00'", "description"),
    ],
)
def test_a_database_with_other_things_in_it_is_refused(
    root: Path, statement: str, said: str
) -> None:
    change(root, statement)
    with pytest.raises(StoreError, match=said):
        DiskStore.open(root, BINDING)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("question", b"\x00"),
        ("state", "somewhere"),
        ("radius", "wide"),
        ("steps", "many"),
        ("positives", "[" * 20_000),
        ("warnings", b"[]"),
        ("old_answer", b"x"),
        ("retires", "{"),
    ],
)
def test_a_record_of_other_types_is_named(root: Path, column: str, value: object) -> None:
    change(root, f"UPDATE edits SET {column} = ? WHERE id = '00000001'", value)
    with (
        DiskStore.open(root, BINDING) as store,
        pytest.raises(StoreError, match="edit '00000001'"),
    ):
        store.edits()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE audit",
        "DROP TABLE audit; CREATE TABLE audit (number)",
        "DROP TABLE requests",
        "ALTER TABLE store DROP COLUMN version",
        "UPDATE store SET version = 'x'",
    ],
)
def test_a_database_without_what_counts_its_changes_is_an_error_of_one_line(
    root: Path, statement: str
) -> None:
    change(root, statement)
    terms = Terms(audit=AuditEntry("k", "default"), request=Request("k", "r", "0"))
    with DiskStore.open(root, BINDING) as store:
        with pytest.raises(StoreError, match="not an edit store"):
            store.revert("00000001", terms)
        assert store.edits()["00000001"].state == "active"


@pytest.mark.parametrize("width", [2**40, "wide", -3])
def test_a_width_that_no_key_has_is_refused(root: Path, width: object) -> None:
    change(root, "UPDATE store SET width = ?", width)
    with DiskStore.open(root, BINDING) as store, pytest.raises(StoreError, match="keys of"):
        store.load(NAMES)


def test_an_id_that_leads_out_of_the_store_is_refused(root: Path, elsewhere: Path) -> None:
    change(root, "UPDATE edits SET id = '../../elsewhere/precious' WHERE id = '00000001'")
    with DiskStore.open(root, BINDING) as store:
        with pytest.raises(StoreError, match="characters 0-9 and a-f"):
            store.load(store.active())
        with pytest.raises(StoreError, match="characters 0-9 and a-f"):
            store.revert("../../elsewhere/precious")


# -- drives that are not disks --------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_directory_that_cannot_be_synced_is_no_reason_to_stop(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    with DiskStore.open(root, BINDING) as store:
        put(store, 3)
    with DiskStore.open(root, BINDING) as store:
        assert len(store.load(store.active())[0]) == 3


def test_a_directory_that_fails_for_another_reason_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable.os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        sync_directory(tmp_path)


@pytest.mark.parametrize("name", ["SQLITE_PROTOCOL", "SQLITE_IOERR_SHMMAP", "SQLITE_IOERR_LOCK"])
def test_a_drive_without_locks_is_not_called_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorname = name

    def connect(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(StoreError, match="network drive") as raised:
        DiskStore.open(root, BINDING)
    assert "damaged" not in str(raised.value)


# -- memory ---------------------------------------------------------------------------------------

SAVE = """
import resource, sys
from pathlib import Path
from balancedit.store import DiskStore
from balancedit.store.copying import copy_store
import torch, safetensors.torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with DiskStore.open(sys.argv[1]) as store:
    copy_store(store, Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_saving_holds_one_edit_at_a_time(tmp_path: Path) -> None:
    size = 2**20  # numbers of an edit: 4 MB
    with DiskStore.open(tmp_path / "store", BINDING, create=True) as store:
        for n in range(16):
            weight = torch.full((1, size), float(n))
            store.commit(make_edit(n, id=f"{n:08x}"), make_key(n), {"weight": weight})
    run = [sys.executable, "-c", SAVE, str(tmp_path / "store"), str(tmp_path / "copy")]
    grown = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout) * 1024
    assert grown < 16 * 4 * size / 2
    with DiskStore.open(tmp_path / "copy", BINDING) as copy:
        for n, held in enumerate(copy.load(copy.active())[0]):
            assert torch.equal(held.tensors["weight"], torch.full((1, size), float(n)))


def test_what_is_saved_from_memory_is_whole(tmp_path: Path) -> None:
    store = MemoryStore(BINDING)
    put(store, 1)
    put(store, 2)
    copy_store(store, tmp_path / "copy")
    with DiskStore.open(tmp_path / "copy", BINDING) as copy:
        assert list(copy.edits()) == list(NAMES)
        assert copy.load(NAMES)[0][0].key.shape == (WIDTH,)


def test_a_child_of_this_test_is_measured_in_kilobytes() -> None:
    """`ru_maxrss`, which the memory test reads, is in KiB here; bytes on other systems."""
    if sys.platform != "linux":
        pytest.skip("Linux")
    assert 10_000 < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 100_000_000
