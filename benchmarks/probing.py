"""How much faster the benchmark asks an edit's probes together than one at a time.

    python benchmarks/probing.py

The same model answers the same probes of the first edits of okedit-pocket, unedited, both ways in
turn, after a warm-up; the table gives medians over rounds and their ratio. Protocol: free
generation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from balancedit import Editor
from balancedit.bench.protocols import PROTOCOLS, Probe, probes
from balancedit.data import pocket

Ask = Callable[[], list[str]]


def seconds(ask: Ask) -> tuple[float, list[str]]:
    """How long one round takes, and what it says."""
    started = time.perf_counter()
    said = ask()
    return time.perf_counter() - started, said


def run(
    edits: Annotated[int, typer.Option(help="Edits whose probes are asked.")] = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of both ways.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Questions asked together.")] = 32,
) -> None:
    """Measure both ways."""
    editor = Editor.load("pocket")
    protocol = PROTOCOLS["generate"]
    asked: list[Probe] = [p for s in pocket.load("edit-eval")[:edits] for p in probes(s)]
    ways: dict[str, Ask] = {
        "one at a time": lambda: [protocol.outputs(editor, [p], 1)[0] for p in asked],
        "together": lambda: protocol.outputs(editor, asked, batch_size),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    answers = {name: ask() for name, ask in ways.items()}  # the warm-up
    for _ in range(rounds):
        for name, ask in ways.items():
            duration, answers[name] = seconds(ask)
            taken[name].append(duration)
    same = sum(a == b for a, b in zip(*answers.values(), strict=True))
    table = Table("probes asked", "median seconds", "fastest", "slowest")
    for name, found in taken.items():
        table.add_row(name, *(f"{f(found):.2f}" for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    ratio = statistics.median(taken["one at a time"]) / statistics.median(taken["together"])
    console.print(
        f"{len(asked)} probes, {torch.get_num_threads()} threads: {ratio:.2f} times as fast; "
        f"{same} of {len(asked)} answers equal"
    )


if __name__ == "__main__":
    typer.run(run)
