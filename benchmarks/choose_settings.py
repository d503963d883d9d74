"""Choose α for each key and distance, and the step size, on *edit-train* things alone.

    python benchmarks/choose_settings.py

α: scope decisions only, no training. Every probe's key is measured once; for each α the table says
how many rewordings and redrawings the radius reaches and how many neighbours and other questions it
leaves out. Step size: edits learned for real, free generation.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from pocket_cases import Case, cases
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit import Editor
from balancedit.codebook import DISTANCES
from balancedit.images import solid
from balancedit.rephrasing import rephrase
from balancedit.scope import influence_radius
from balancedit.text import same_text

ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
REACH, KEEP = ("T-Gen", "I-Gen"), ("Loc", "other questions")


def distances(editor: Editor, chosen: list[Case], distance: str) -> list[dict[str, Any]]:
    """For each case: distances from the edit's key to its positive, negative and probes."""
    method: Any = editor._method
    measured = []
    with editor:
        for case in track(chosen, "measuring", console=Console(stderr=True)):
            positives, _ = rephrase(case.question, 1, editor._loaded.rephraser)
            queries = [(case.image, case.question), (case.image, positives[0])]
            queries.append((solid(case.image.size, "black"), case.question))
            probes = case.probes()
            queries += [q for group in probes.values() for q in group]
            keys = method.prefill_keys([i for i, _ in queries], [q for _, q in queries])
            far = DISTANCES[distance](keys[:1], keys[1:])[0].tolist()
            row: dict[str, Any] = {"positive": far[0], "negative": far[1]}
            start = 2
            for metric, group in probes.items():
                row[metric] = far[start : start + len(group)]
                start += len(group)
            measured.append(row)
    return measured


def at_alpha(measured: list[dict[str, Any]], alpha: float) -> dict[str, float]:
    """Mean shares, in percent, of probes treated as they should be, and HM of the first three."""
    shares: dict[str, list[float]] = {m: [] for m in (*REACH, *KEEP)}
    for row in measured:
        radius = influence_radius(
            [row["positive"]], row["negative"], alpha, keep_degenerate=False
        ).value
        for metric in REACH:
            shares[metric].append(statistics.mean(d <= radius for d in row[metric]))
        for metric in KEEP:
            shares[metric].append(statistics.mean(d > radius for d in row[metric]))
    means = {m: 100 * statistics.mean(v) for m, v in shares.items()}
    means["HM"] = statistics.harmonic_mean([means["T-Gen"], means["I-Gen"], means["Loc"]])
    return means


def learn(editor: Editor, chosen: list[Case]) -> float:
    """Share of edits, in percent, whose own question is answered with the target."""
    hits = []
    for case in chosen:
        edit = editor.edit(case.image, case.question, case.target, rephrasings=["What is that?"])
        hits.append(same_text(edit.answer_after or "", case.target))
        editor.revert(edit.id)
    return 100 * statistics.mean(hits)


def run(
    n: Annotated[int, typer.Option(help="Edits to measure α with.")] = 60,
    edits: Annotated[int, typer.Option(help="Edits to learn at each step size; 0: none.")] = 6,
    keys: Annotated[str, typer.Option(help="Keys to measure, separated by commas.")] = "mean,last",
    out: Annotated[Path | None, typer.Option(help="Write the tables as JSON.")] = None,
) -> None:
    """Print both tables."""
    console, kept = Console(), {}
    chosen = cases("edit-train", n, "settings")
    for key in keys.split(","):
        editor = Editor.load("pocket", preset="paper", key=key)
        for distance in DISTANCES:
            measured = distances(editor, chosen, distance)
            table = Table("α", *REACH, *KEEP, "HM", title=f"{key} key, {distance}: scope, percent")
            for alpha in ALPHAS:
                row = at_alpha(measured, alpha)
                kept[f"{key} {distance} {alpha}"] = {m: round(v, 1) for m, v in row.items()}
                table.add_row(str(alpha), *(f"{row[m]:.1f}" for m in (*REACH, *KEEP, "HM")))
            console.print(table)
    table = Table("step size", "Acc", title=f"learned, {edits} edits, 50 steps, percent")
    for lr in (1e-4, 3e-4, 1e-3, 3e-3) if edits else ():
        editor = Editor.load("pocket", preset="paper", lr=lr)
        kept[f"lr {lr:g}"] = {"Acc": round(learn(editor, chosen[:edits]), 1)}
        table.add_row(f"{lr:g}", f"{kept[f'lr {lr:g}']['Acc']:.1f}")
    console.print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"n": n, "edits": edits, "tables": kept}, indent=1))


if __name__ == "__main__":
    typer.run(run)
