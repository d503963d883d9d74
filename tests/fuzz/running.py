"""Runs a reader on input after input, and says what must not have happened."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from balancedit.cli.main import main
from balancedit.errors import BalanceditError

#: Seconds that one input may take; the slowest that is right takes a tenth.
PATIENCE = 20.0


@dataclass(frozen=True)
class Reader:
    """Something that reads from outside.

    prepare: makes the good sample in a directory, once. feed: given a `Random` and a fresh copy of
    that directory, spoils it and reads it. memory: megabytes that reading may take.
    """

    name: str
    prepare: Callable[[Path], None]
    feed: Callable[[Random, Path], None]
    memory: int = 300


@dataclass
class Findings:
    """What came of some inputs. refused: how many ended in one of our errors."""

    inputs: int = 0
    refused: int = 0
    grown: float = 0.0
    wrong: list[str] = field(default_factory=list)


def run(reader: Reader, seed: int, n: int | None, seconds: float = 1e9) -> Findings:
    """Give a reader `n` inputs (None: as many as it takes in `seconds`), each of which follows from
    its own number and the seed alone."""
    found = Findings()
    with tempfile.TemporaryDirectory() as held:
        place = Path(held)
        (place / "good").mkdir()
        (place / "elsewhere").mkdir()
        (place / "elsewhere" / "precious").write_bytes(b"mine")
        reader.prepare(place / "good")
        kept = _state(place)
        _warm_up(reader, place)
        until, before = time.monotonic() + seconds, _peak(reset=True)
        while found.inputs != n and time.monotonic() < until and len(found.wrong) < 20:
            said = f"{reader.name}:{seed}:{found.inputs}"
            found.inputs += 1
            with _copied(place) as root, _bounded(2 * reader.memory):
                _one(reader, said, root, found)
            if found.inputs % 20 == 0 and _state(place) != kept:
                found.wrong.append(f"up to {said}: something beside the directory was touched")
                kept = _state(place)
        if _state(place) != kept:
            found.wrong.append(f"up to {said}: something beside the directory was touched")
        found.grown = _peak() - before
        if found.grown > reader.memory:
            found.wrong.append(f"{reader.name} took {found.grown:.0f} MB; {reader.memory} is right")
    return found


def _one(reader: Reader, said: str, root: Path, found: Findings) -> None:
    try:
        with _patience():
            reader.feed(Random(said), root)
    except BalanceditError as error:
        found.refused += 1
        if "this is a bug" in str(error) or not str(error):
            found.wrong.append(f"{said}: {type(error).__name__}: {error}")
    except Exception as error:
        at = error.__traceback__
        while at and at.tb_next:
            at = at.tb_next
        where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else ""
        found.wrong.append(f"{said}: {type(error).__name__}: {str(error)[:300]} ({where})")


def command(*arguments: str) -> None:
    """Run a command line. What it takes for a bug of ours is raised as one."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = main(arguments)
    if "this is a bug" in said.getvalue():
        raise AssertionError(said.getvalue())
    if code:
        raise BalanceditError(said.getvalue())


def _warm_up(reader: Reader, place: Path) -> None:
    """Read the good sample spoilt once, so that imports do not count."""
    with _copied(place) as root:
        _one(reader, f"{reader.name}:warm", root, Findings())


@contextmanager
def _copied(place: Path) -> Iterator[Path]:
    """A fresh copy of the good sample, beside somebody's own directory."""
    root = place / "given"
    shutil.copytree(place / "good", root)
    try:
        yield root
    finally:
        shutil.rmtree(root)


def _state(place: Path) -> str:
    """What is beside the copy that is read, names, content and times."""
    hasher = hashlib.sha256(" ".join(sorted(os.listdir(place))).encode())
    for path in sorted(p for f in ("good", "elsewhere") for p in (place / f).rglob("*")):
        hasher.update(f"{path}{path.lstat().st_mtime_ns}{path.lstat().st_mode}".encode())
        if path.is_file():
            hasher.update(path.read_bytes())
    return hasher.hexdigest()


@contextmanager
def _bounded(megabytes: int) -> Iterator[None]:
    """Refuse this process more memory than so much beyond what it has, so that a reader that takes
    it all is found out before the machine is full."""
    if sys.platform != "linux":
        yield
        return
    text = Path("/proc/self/status").read_text()
    now = int(text.partition("VmData:")[2].split()[0]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (now + megabytes * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextmanager
def _patience() -> Iterator[None]:
    """Break off what hangs."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took over {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _peak(*, reset: bool = False) -> float:
    """The most memory this process has had, in megabytes; since the last reset on Linux."""
    if sys.platform == "linux":
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1024
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
