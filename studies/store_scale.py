"""How long a store of many low-rank edits takes to open, and one more edit to be kept.

    python studies/store_scale.py --edits 10000 --out results/pocket/store-10000.json
    python studies/store_scale.py --edits 200 --rounds 2                  # seconds

A store is filled through the store's own functions, in one transaction and without waiting for the
disk at each edit. Then, in a process of its own for every round, it is opened, its keys are checked
and taken over into a codebook, its index is made, and one question's key is looked up; and edits
are added one at a time, each on the disk before the next. Files that were written lately may still
be in the operating system's cache; --drop-caches empties it before each round, where that is
allowed (Linux, as root).
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from balancedit.codebook.codebook import Codebook, euclidean
from balancedit.codebook.pooling import kept_as
from balancedit.files.compact import write_lines
from balancedit.store import Binding, DiskStore
from balancedit.store.directory import files, rows
from balancedit.types import Edit

_THUMBNAIL = 2500  # bytes, about what a 96-pixel picture takes
_CACHES = Path("/proc/sys/vm/drop_caches")


def binding(key_type: str) -> Binding:
    """Whom the store belongs to."""
    details = {"layer": "down", "key": "both", "key_type": key_type}
    return Binding("made up", "0" * 64, "balancedit", details)


def record(number: int) -> Edit:
    """A record as long as a real one."""
    return Edit(
        id=f"{number:08x}",
        question=f"What is shown in picture number {number} of this series?",
        target="a grey heron",
        answer_before="a flamingo",
        answer_after="a grey heron",
        radius=2.5,
        d_positive=2.0,
        d_negative=9.0,
        positives=(f"What does picture number {number} of this series show?",),
        positives_source="model",
        negative="black",
        image_sha256=f"{number:064x}",
        created="2026-01-01T00:00:00+00:00",
        seconds=0.5,
        steps=20,
        loss=0.01,
    )


def low_rank(rank: int, width: int, out: int) -> dict[str, torch.Tensor]:
    """Two thin factors of a layer of `width` inputs and `out` outputs."""
    return {"a": torch.randn(out, rank), "b": torch.randn(rank, width)}


def fill(
    root: Path, edits: int, key_width: int, key_type: str, tensors: dict[str, torch.Tensor]
) -> None:
    """A store of that many edits, as `DiskStore.commit` would have left it."""
    generator = torch.Generator().manual_seed(0)
    packed = files.pack(tensors)
    packed_sum = files.digest(packed)
    picture = os.urandom(_THUMBNAIL)
    with (
        DiskStore.open(root, binding(key_type), create=True) as store,
        store._transactions.writing("fill it") as db,
        open(root / files.KEYS, "wb") as keys,
    ):
        db.execute("UPDATE store SET width = ?", (key_width,))
        for number in range(edits):
            key = kept_as(torch.randn(key_width, generator=generator), key_type)
            data = files.key_bytes(key, files.KEY_FORMS[key_type])
            keys.write(data)
            edit = record(number)
            files.tensor_path(root, edit.id).write_bytes(packed)
            content = (number, files.digest(data), len(packed), packed_sum)
            rows.insert(db, edit, content, picture)
    os.sync()


def one_round(
    root: Path, first: int, more: int, key_type: str, tensors: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """What a fresh process needs, in seconds and bytes."""
    took: dict[str, Any] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        took[name] = now - clock
        clock = now

    store = DiskStore.open(root, binding(key_type))
    active = store.active()
    lap("open")
    held, damaged = store.held(active)
    assert not damaged
    lap("check and take over")
    book = Codebook(euclidean)
    radii = [edit.radius or 0.0 for edit in held.edits]
    book.add_mapped([edit.id for edit in held.edits], held.keys, held.rows, radii)
    book.prepare()
    lap("make the index")
    match = book.nearest(held.keys[held.rows[:1]])[0]
    assert match is not None
    assert match.inside
    lap("first look-up")
    held.read[-1]()
    lap("first transformation")
    took["bytes"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    commits = []
    for number in range(first, first + more):
        clock = time.perf_counter()
        key = kept_as(torch.randn(held.keys.shape[1]), key_type)
        store.commit(record(number), key, tensors, b"p" * _THUMBNAIL)
        commits.append(time.perf_counter() - clock)
    clock = time.perf_counter()
    store.revert(f"{first:08x}")
    lap("one revert")
    took["commits"] = commits
    store.close()
    return took


def run(
    edits: Annotated[int, typer.Option(help="Edits in the store.")] = 10_000,
    rounds: Annotated[int, typer.Option(help="Times it is opened, each in a new process.")] = 5,
    more: Annotated[int, typer.Option(help="Edits added a round, one at a time.")] = 20,
    key_width: Annotated[int, typer.Option(help="Numbers in a key.")] = 576,
    key_type: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    rank: Annotated[int, typer.Option(help="Of a transformation.")] = 4,
    width: Annotated[int, typer.Option(help="Inputs of the edited layer.")] = 576,
    outputs: Annotated[int, typer.Option(help="Outputs of the edited layer.")] = 1536,
    drop_caches: Annotated[bool, typer.Option("--drop-caches", help="Read from the disk.")] = False,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the results.")] = None,
    root: Annotated[Path | None, typer.Option(hidden=True)] = None,
    first: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Fill, open, add, print."""
    tensors = low_rank(rank, width, outputs)
    if root is not None:
        print(json.dumps(one_round(root, first, more, key_type, tensors)))
        return
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "edits"
        started = time.perf_counter()
        fill(store, edits, key_width, key_type, tensors)
        size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
        console.print(
            f"{edits:,} edits, {size / 1e6:.0f} MB, written in "
            f"{time.perf_counter() - started:.1f} s"
        )
        found = []
        for turn in range(rounds):
            if drop_caches:
                os.sync()
                _CACHES.write_text("3")
            arguments = ["--root", str(store), "--first", str(edits + turn * more)]
            arguments += ["--more", str(more), "--rank", str(rank), "--width", str(width)]
            arguments += ["--outputs", str(outputs), "--key-type", key_type]
            child = subprocess.run(
                [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
            )
            found.append(json.loads(child.stdout))
    table = Table("step", "median ms", "slowest ms")
    steps = [name for name in found[0] if name not in ("commits", "bytes")]
    times = {name: [one[name] for one in found] for name in steps}
    times["one commit"] = [t for one in found for t in one["commits"]]
    times["open until it answers"] = [sum(one[name] for name in steps[:4]) for one in found]
    for name, took in times.items():
        table.add_row(name, f"{1e3 * statistics.median(took):.2f}", f"{1e3 * max(took):.2f}")
    console.print(table)
    taken = statistics.median(one["bytes"] for one in found)
    console.print(
        f"{rounds} rounds of {more} commits, {torch.get_num_threads()} threads; the process grew "
        f"by {taken / 1e6:.0f} MB, of which keys that lie in the file are part"
    )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {
            "edits": edits,
            "bytes": size,
            "key_type": key_type,
            "drop_caches": drop_caches,
            "rounds": found,
        }
        write_lines(out, result)
        console.print(f"wrote {out}")


if __name__ == "__main__":
    typer.run(run)
