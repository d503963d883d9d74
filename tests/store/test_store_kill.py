"""A writer killed at any moment leaves all of an edit or none; two writers keep all of both.

The writers are forked processes, so that a kill costs milliseconds.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from balancedit.store import AuditEntry, Binding, DiskStore, Request, Terms
from balancedit.store.directory import files, rows
from store_cases import BINDING, assert_held, put

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

DEADLINE_S = 60.0


def start(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its id. Exit status 0 when it returned, 1 when it raised."""
    child = os.fork()
    if child:
        return child
    try:
        signal.alarm(int(DEADLINE_S))  # nobody waits for a child that hangs
        work()
    except BaseException as error:
        print(f"in the child: {error!r}", flush=True)
        os._exit(1)
    os._exit(0)


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def files_of_edits(root: Path) -> set[str]:
    return {path.name for path in (root / "edits").iterdir()}


def assert_whole(root: Path) -> list[int]:
    """Open the store for writing; every row's key and tensors are right, and there is no other
    file. Returns the numbers of the edits that stand."""
    with DiskStore.open(root, BINDING) as store:
        numbers = [int(i, 16) for i, e in store.edits().items() if e.state != "reverted"]
        assert_held(store, *numbers)
        assert not store.changed()
    assert files_of_edits(root) == {f"{n:08x}.safetensors" for n in numbers}
    return numbers


ASKED = Request("k", "r", "0" * 64)
TERMS = Terms(audit=AuditEntry("k", "default"), request=ASKED)


def assert_counted(root: Path, version: int, *, done: bool) -> None:
    """The version, and whether the change of `TERMS` is kept in the audit and as a request."""
    with DiskStore.open(root) as store:
        assert store.version == version
        assert [line.version for line in store.audit(9)] == [version] * done
        assert (store.done(ASKED) is not None) == done


# -- stopped before and after every step ----------------------------------------------------------


class Stopper:
    """In the child: stops the process at the n-th of the moments it passes."""

    def __init__(self, at: int) -> None:
        self.left = at

    def moment(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    def around(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            self.moment()
            result = real(*args, **options)
            self.moment()
            return result

        setattr(owner, name, wrapped)

    def install(self, store: DiskStore | None = None) -> None:
        for name in ("fsync", "replace", "link", "mkdir"):
            self.around(os, name)
        for name in ("insert", "update"):
            self.around(rows, name)
        self.around(files, "write_key")
        self.around(Path, "unlink")
        if store is not None:
            store._transactions._db = Watched(store._transactions._db, self)  # type: ignore[assignment]


class Watched:
    """A connection with a moment before and after each statement."""

    def __init__(self, db: Any, stopper: Stopper) -> None:
        self._real, self._stopper = db, stopper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, *args: Any) -> Any:
        self._stopper.moment()
        result = self._real.execute(*args)
        self._stopper.moment()
        return result


def stopped(work: Callable[[Stopper], None], at: int) -> int | None:
    """A process that runs `work` and has stopped at its moment `at`; None when it had fewer."""
    child = start(lambda: work(Stopper(at)))
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return child
    assert os.WEXITSTATUS(status) == 0
    return None


def test_a_commit_killed_between_any_two_steps(tmp_path: Path) -> None:
    outcomes = []
    for at in range(1, 200):
        root = tmp_path / str(at)
        with DiskStore.open(root, BINDING, create=True) as store:
            put(store, 1)

        def work(stopper: Stopper, root: Path = root) -> None:
            store = DiskStore.open(root, BINDING)
            stopper.install(store)
            put(store, 2, retires=("00000001",), terms=TERMS)
            stopper.left = 0  # closing is not what is tested here

        child = stopped(work, at)
        if child is None:
            break
        try:
            # While it lives, a second process opens at once and takes nothing away from it.
            before = files_of_edits(root)
            opened = time.perf_counter()
            with DiskStore.open(root, BINDING) as store:
                visible = set(store.edits())
                assert time.perf_counter() - opened < 2
                assert visible <= {"00000001", "00000002"}
                assert store.edits()["00000001"].state == (
                    "retired" if "00000002" in visible else "active"
                )
            if "00000002" in visible:
                assert files_of_edits(root) == before
        finally:
            kill(child)
        numbers = assert_whole(root)
        assert visible == {f"{n:08x}" for n in numbers}
        assert_counted(root, len(numbers), done=numbers == [1, 2])
        outcomes.append(numbers == [1, 2])
        with DiskStore.open(root, BINDING) as store:  # and the next writer is not in the way
            put(store, 2 if numbers == [1] else 3)
        assert_whole(root)
    assert len(outcomes) > 20
    assert outcomes == sorted(outcomes)  # first none of it, then all of it
    assert outcomes[0] is False
    assert outcomes[-1] is True


def test_a_writer_that_lives_keeps_its_files(tmp_path: Path) -> None:
    """The cleaning of a second process, at every moment of a commit that then goes on."""
    for at in range(1, 200):
        root = tmp_path / str(at)
        DiskStore.open(root, BINDING, create=True).close()

        def work(stopper: Stopper, root: Path = root) -> None:
            store = DiskStore.open(root, BINDING)
            stopper.install(store)
            put(store, 1)
            stopper.left = 0

        child = stopped(work, at)
        if child is None:
            break
        DiskStore.open(root, BINDING).close()
        os.kill(child, signal.SIGCONT)
        assert os.waitpid(child, 0)[1] == 0
        assert assert_whole(root) == [1]
    assert at > 20


def test_a_revert_killed_between_any_two_steps(tmp_path: Path) -> None:
    outcomes = []
    for at in range(1, 200):
        root = tmp_path / str(at)
        with DiskStore.open(root, BINDING, create=True) as store:
            put(store, 1)
            put(store, 2, retires=("00000001",))

        def work(stopper: Stopper, root: Path = root) -> None:
            store = DiskStore.open(root, BINDING)
            stopper.install(store)
            store.revert("00000002", TERMS)
            stopper.left = 0

        child = stopped(work, at)
        if child is None:
            break
        kill(child)
        numbers = assert_whole(root)
        with DiskStore.open(root) as store:
            states = [e.state for e in store.edits().values()]
        assert (numbers, states) in [
            ([1, 2], ["retired", "active"]),
            ([1], ["active", "reverted"]),
        ]
        assert_counted(root, 3 if numbers == [1] else 2, done=numbers == [1])
        outcomes.append(numbers == [1])
    assert len(outcomes) >= 10
    assert outcomes == sorted(outcomes)
    assert outcomes[-1] is True


def test_a_first_open_killed_between_any_two_steps(tmp_path: Path) -> None:
    for at in range(1, 50):
        root = tmp_path / str(at)

        def work(stopper: Stopper, root: Path = root) -> None:
            stopper.install()
            DiskStore.open(root, BINDING, create=True)
            stopper.left = 0

        child = stopped(work, at)
        if child is None:
            break
        kill(child)
        with DiskStore.open(root, BINDING, create=True) as store:
            put(store, 1)
        assert assert_whole(root) == [1]
    assert at > 6


# -- killed at whatever moment it is --------------------------------------------------------------


def kill_rounds(root: Path, rounds: int) -> None:
    """Kill a busy writer `rounds` times; whatever it had been told is kept, must be."""
    DiskStore.open(root, BINDING, create=True).close()
    number = 0
    for turn in range(rounds):
        read, write = os.pipe()

        def work(first: int = number, write: int = write) -> None:
            with DiskStore.open(root, BINDING) as store:
                for n in range(first, first + 10_000):
                    put(store, n)
                    os.write(write, struct.pack("<q", n))
                    if n % 3 == 2:
                        store.revert(f"{n - 1:08x}")

        child = start(work)
        if turn % 2:  # on a busy machine the writer may be slow to start: let it commit once
            select.select([read], [], [], 30)
        time.sleep(0.002 + 0.0007 * (turn % 50))
        kill(child)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            told = [n for (n,) in struct.iter_unpack("<q", pipe.read())]
        standing = assert_whole(root)
        with DiskStore.open(root) as store:
            ids = [int(i, 16) for i in store.edits()]
            reverted = sum(e.state == "reverted" for e in store.edits().values())
            assert store.version == len(ids) + reverted
        assert ids == list(range(len(ids)))
        assert set(told) <= set(ids)
        assert len(ids) <= number + len(told) + 1
        assert all(n in standing for n in ids if n % 3 != 1)
        number = len(ids)
    assert number >= rounds // 2  # the kills did meet a writer at work


def test_a_busy_writer_killed_at_many_moments(tmp_path: Path) -> None:
    kill_rounds(tmp_path / "store", rounds=60)


@pytest.mark.slow
def test_a_busy_writer_killed_at_very_many_moments(tmp_path: Path) -> None:
    kill_rounds(tmp_path / "store", rounds=500)


# -- two at once ----------------------------------------------------------------------------------


def test_two_processes_keep_all_their_edits(tmp_path: Path) -> None:
    root = tmp_path / "store"

    def work(first: int) -> None:
        with DiskStore.open(root, BINDING, create=True) as store:
            for number in range(first, first + 25):
                put(store, number)
                if number % 5 == 0:
                    store.revert(f"{number:08x}")

    children = [start(lambda first=first: work(first)) for first in (0, 100)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    numbers = assert_whole(root)
    assert sorted(numbers) == [n for f in (0, 100) for n in range(f, f + 25) if n % 5]
    assert (root / "keys.bin").stat().st_size == 50 * 4 * 6


def test_many_first_opens_at_once_make_one_store(tmp_path: Path) -> None:
    root = tmp_path / "store"
    children = []
    for number in range(8):
        binding = Binding(f"name {number}", BINDING.fingerprint, BINDING.method, BINDING.details)

        def work(number: int = number, binding: Binding = binding) -> None:
            with DiskStore.open(root, binding, create=True) as store:
                put(store, number)

        children.append(start(work))
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert sorted(assert_whole(root)) == list(range(8))
    assert not list(root.glob(".new*"))


def test_a_reader_beside_a_reverting_writer_never_sees_damage(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with DiskStore.open(root, BINDING, create=True) as store:
        for number in range(60):
            put(store, number)

    def work() -> None:
        with DiskStore.open(root, BINDING) as store:
            for number in range(60):
                store.revert(f"{number:08x}")

    child = start(work)  # before the reader: a handle must not be carried across a fork
    with DiskStore.open(root, BINDING) as reader:
        while not os.waitpid(child, os.WNOHANG)[0]:
            _, damaged = reader.load([f"{n:08x}" for n in range(60)])
            assert damaged == []
