"""How long reading the published data sets takes, at their full sizes, without their pictures.

Writes files of made-up records in the published formats into a temporary directory, and reads them
as `balancedit` does, digest included.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
from published import (
    mmedit_records,
    okedit_files,
    okedit_folders,
    vlkeb_records,
    write_mmedit,
    write_okedit,
)

from balancedit.data.catalogue import find


def _mmedit(directory: Path) -> None:
    write_mmedit(directory, mmedit_records(2093), "vqa_eval.json")
    write_mmedit(directory, mmedit_records(6345), "vqa_train.json")


def _okedit(directory: Path) -> None:
    write_okedit(directory, *okedit_files(5046))
    okedit_folders(directory, range(1000, 1000 + 5046))


def _vlkeb(directory: Path) -> None:
    write_mmedit(directory, vlkeb_records(3174), "eval.json")
    write_mmedit(directory, vlkeb_records(5000), "train.json")


WRITERS: dict[str, Callable[[Path], None]] = {
    "mmedit": _mmedit,
    "okedit": _okedit,
    "vlkeb": _vlkeb,
}


def run(rounds: Annotated[int, typer.Option(help="Times each part is read.")] = 5) -> None:
    """Print the median and the slowest time a part takes."""
    table = Table(
        "data set", "part", "records", "MB", "median seconds", "slowest", "digest seconds"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            directory = Path(folder) / name
            write(directory)
            for part in find(f"{name}={directory}").parts:
                taken, digested = [], 0.0
                for _ in range(rounds):
                    started = time.perf_counter()
                    found = find(f"{name}={directory}")
                    samples = found.read(part)
                    taken.append(time.perf_counter() - started)
                    started = time.perf_counter()
                    found.digest(part)
                    digested = time.perf_counter() - started
                size = sum(p.stat().st_size for p in directory.glob("*.json")) / 1e6
                row = (statistics.median(taken), max(taken), digested)
                cells = (f"{seconds:.2f}" for seconds in row)
                table.add_row(name, part, str(len(samples)), f"{size:.1f}", *cells)
    Console().print(table)
    Console().print(f"{os.cpu_count()} cores; MB are of all parts' files together")


if __name__ == "__main__":
    typer.run(run)
