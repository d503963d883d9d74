"""What the answer-aware scope costs a question, against the paper's scope.

    python studies/scope_cost.py --out results/pocket/scope-cost.json
    python studies/scope_cost.py --held 5 --repeats 2           # a minute

Two editors hold the same edits, one of them learned and the others made up as `serving.py` makes
them. They are asked in turn, after a warm-up, and no encoded picture is kept from one to the next:
about another thing (no entry is near), another question about the edit's thing (an entry is near,
and the untouched model says something else), and another picture of it with the edit's question
(the edit fires). A decode step is the time between two tokens of a longer answer. Ratios are of
medians, with a bootstrap interval over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from balancedit import Editor
from balancedit.data import pocket
from balancedit.files.compact import write_lines
from balancedit.models.loading import load_model
from serving import made_up, material, ratio, seconds, step_seconds

SCOPES = ("paper", "answer-aware")
OTHER = "What colour is the background?"


def run(
    held: Annotated[int, typer.Option(help="Edits held.")] = 1000,
    repeats: Annotated[int, typer.Option(help="Rounds; each asks all in turn.")] = 30,
    samples: Annotated[int, typer.Option(help="Real prompts that keys are made beside.")] = 100,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure and print."""
    loaded = load_model("pocket")
    edited, far = [s for s in pocket.load("edit-eval") if s.kind == "name"][:2]
    editors: dict[str, Editor] = {}
    real = None
    for scope in SCOPES:
        editors[scope] = Editor.on(loaded, scope=scope)
        real = real or material(editors[scope], pocket.load("edit-train")[:samples])
        edit = editors[scope].edit(
            edited.image.open(), edited.question, edited.target, rephrasings=edited.rephrases[:1]
        )
        method: Any = editors[scope]._method
        method.add_many(made_up(real, held - 1, edit, seed=1))
        method.settle()
    asked = {
        "no entry near": (far.image.open(), far.question),
        "near, another answer": (edited.image.open(), OTHER),
        "fires": (edited.image_rephrases[0].open(), edited.question),
    }
    aware = editors["answer-aware"]
    fired = [aware.ask(*what).fired is not None for what in asked.values()]
    assert fired == [False, False, True], "the questions are not what they are to show"

    work: dict[tuple[str, str], Callable[[], float]] = {}
    for scope, editor in editors.items():
        for name, what in asked.items():
            work[scope, name] = partial(seconds, partial(editor.ask, *what))
        inputs = editor.inputs(*([x] for x in asked["fires"]))
        work[scope, "a decode step"] = partial(_step, editor, inputs)
    times: dict[tuple[str, str], list[float]] = {name: [] for name in work}
    for turn in range(repeats + 2):
        for name in work if turn % 2 else reversed(work):
            loaded.pictures.forget()
            took = work[name]()
            if turn >= 2:  # the warm-up
                times[name].append(took)

    table = Table("asked", "paper ms", "answer-aware ms", "ratio", "95 %")
    rows = {}
    for name in (*asked, "a decode step"):
        pair = [times[scope, name] for scope in SCOPES]
        ms = [1e3 * statistics.median(t) for t in pair]
        found, low, high = ratio(pair[1], pair[0])
        rows[name] = {"ms": ms, "ratio": found, "low": low, "high": high}
        cells = [f"{m:.2f}" for m in ms]
        table.add_row(name, *cells, f"{found:.3f}", f"{low:.3f}–{high:.3f}")
    console = Console(width=100)
    console.print(table)
    console.print(f"{held:,} edits held, {repeats} rounds, {torch.get_num_threads()} threads")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        result = {"machine": machine, "held": held, "repeats": repeats, "rows": rows}
        write_lines(out, result)


def _step(editor: Editor, inputs: dict[str, torch.Tensor]) -> float:
    with editor:
        return step_seconds(editor.model, inputs)


if __name__ == "__main__":
    typer.run(run)
