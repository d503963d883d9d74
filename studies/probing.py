"""How much faster the benchmark asks an edit's probes than one question at a time.

    python studies/probing.py

The unedited model and three methods that each hold the edit are asked the same probes of the first
edits of okedit-pocket, both ways in turn, after a warm-up: as the runner asks them (in batches,
each picture encoded once, prompts read once for all methods), and one at a time with nothing kept
from one question to the next. Only asking is timed, not learning. The table gives medians over
rounds and their ratio. Protocol: free generation.
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
from balancedit.models.loading import load_model
from balancedit.types import BATCH_SIZE

METHODS = ("ft", "grace", "balancedit")
Ask = Callable[[], list[str]]


def seconds(ask: Ask) -> tuple[float, list[str]]:
    """How long one round takes, and what it says."""
    started = time.perf_counter()
    said = ask()
    return time.perf_counter() - started, said


def run(
    edits: Annotated[int, typer.Option(help="Edits whose probes are asked.")] = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of both ways.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Questions asked together.")] = BATCH_SIZE,
) -> None:
    """Measure both ways."""
    loaded = load_model("pocket")
    protocol = PROTOCOLS["generate"]
    samples = pocket.load("edit-eval")[:edits]
    asked: list[list[Probe]] = [probes(s) for s in samples]
    editors: list[list[Editor]] = []
    for sample in samples:
        editors.append([Editor.on(loaded, method=m) for m in METHODS])
        for editor in editors[-1]:
            editor.edit(sample.image.open(), sample.question, sample.target)
    base = Editor.on(loaded)

    def together() -> list[str]:
        said: list[str] = []
        loaded.pictures.forget()
        for probed, held in zip(asked, editors, strict=True):
            with base.remembering():
                for editor in (base, *held):
                    said += protocol.outputs(editor, probed, batch_size)
        return said

    def one_at_a_time() -> list[str]:
        said: list[str] = []
        for probed, held in zip(asked, editors, strict=True):
            for editor in (base, *held):
                for probe in probed:
                    loaded.pictures.forget()
                    said += protocol.outputs(editor, [probe], 1)
        return said

    ways: dict[str, Ask] = {"one at a time": one_at_a_time, "as the runner does": together}
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
    slow, fast = (statistics.median(taken[name]) for name in ways)
    total = len(answers["one at a time"])
    console.print(
        f"{total} answers of {1 + len(METHODS)} models, {torch.get_num_threads()} threads: "
        f"{slow / fast:.2f} times as fast; {same} of {total} answers equal"
    )


if __name__ == "__main__":
    typer.run(run)
