"""What an edit reaches and what it leaves alone, on the default model, one edit held at a time.

    python benchmarks/edit_quality.py --preset paper --n 50 --out results/edit_quality/paper.json

Protocol: free generation, greedy. Acc, T-Gen and I-Gen: the answer equals the target. Loc (the
paper's: similar things, same question) and "other questions" (same picture, other questions): the
answer equals what the model said before the edit, recorded beforehand. T-Gen … average over an
edit's probes, then over edits; HM is the harmonic mean of T-Gen, I-Gen and Loc. The radius is
measured with the model's own rewording, never with a probe's.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pocket_cases import Case, cases
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit import Editor, __version__
from balancedit.models.pocket.convert import revision
from balancedit.text import same_text

METRICS = ("Acc", "T-Gen", "I-Gen", "Loc", "HM", "other questions")


def score_case(editor: Editor, case: Case, before: dict[str, list[str]]) -> dict[str, Any]:
    """Make one edit, ask every probe, take the edit back."""
    edit = editor.edit(case.image, case.question, case.target)
    probes = case.probes()
    queries = [(case.image, case.question)] + [q for group in probes.values() for q in group]
    answers = editor.ask([i for i, _ in queries], [q for _, q in queries])
    editor.revert(edit.id)
    row: dict[str, Any] = {
        "thing": case.thing,
        "target": case.target,
        "question": case.question,
        "answer_before": edit.answer_before,
        "seconds": edit.seconds,
        "radius": edit.radius,
        "positives_source": edit.positives_source,
        "warnings": list(edit.warnings),
        "Acc": float(same_text(answers[0].text, case.target)),
    }
    start = 1
    for metric, group in probes.items():
        said = answers[start : start + len(group)]
        start += len(group)
        if metric in ("T-Gen", "I-Gen"):
            hits = [same_text(a.text, case.target) for a in said]
        else:
            hits = [a.text == b for a, b in zip(said, before[metric], strict=True)]
        row[metric] = sum(hits) / len(hits)
        row[f"{metric}: fired"] = sum(a.fired is not None for a in said) / len(said)
        row[f"{metric}: answers"] = [a.text for a in said]
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over edits, in percent."""
    made = {m: 100 * statistics.mean(r[m] for r in rows) for m in METRICS if m != "HM"}
    made["HM"] = statistics.harmonic_mean([made["T-Gen"], made["I-Gen"], made["Loc"]])
    return {m: round(made[m], 1) for m in METRICS}


def record_before(editor: Editor, chosen: list[Case]) -> list[dict[str, list[str]]]:
    """The untouched model's answers to every locality probe."""
    recorded = []
    for case in chosen:
        kept = {m: case.probes()[m] for m in ("Loc", "other questions")}
        queries = [q for group in kept.values() for q in group]
        answers = iter(editor.ask([i for i, _ in queries], [q for _, q in queries]))
        recorded.append({m: [next(answers).text for _ in group] for m, group in kept.items()})
    return recorded


def run(
    preset: Annotated[str, typer.Option(help="Settings to measure.")] = "recommended",
    n: Annotated[int, typer.Option(help="Edits.")] = 50,
    part: Annotated[str, typer.Option(help="edit-eval, or edit-train to choose settings.")] = (
        "edit-eval"
    ),
    seed: Annotated[str, typer.Option(help="Of cases and scenes.")] = "a",
    alpha: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Instead of the model's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write rows and summary as JSON.")] = None,
) -> None:
    """Measure one preset."""
    options = {k: v for k, v in (("alpha", alpha), ("lr", lr)) if v is not None}
    editor = Editor.load("pocket", preset=preset, **options)
    chosen = cases(part, n, seed)  # type: ignore[arg-type]
    started = time.perf_counter()
    before = record_before(editor, chosen)
    rows = [
        score_case(editor, case, said)
        for case, said in track(
            list(zip(chosen, before, strict=True)), "editing", console=Console(stderr=True)
        )
    ]
    table = Table("preset", "edits", *METRICS, title="free generation, one edit held, percent")
    figures = summary(rows)
    table.add_row(preset, str(n), *(f"{figures[m]:.1f}" for m in METRICS))
    Console().print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        config = editor._method.config  # type: ignore[attr-defined]
        record = {
            "protocol": "free generation, greedy, one edit held at a time",
            "version": __version__,
            "model": "pocket",
            "revision": revision(),
            "preset": preset,
            "config": vars(config) | {"lr": config.lr or editor._loaded.edit_lr},
            "part": part,
            "seed": seed,
            "n": n,
            "summary": figures,
            "median_edit_seconds": round(statistics.median(r["seconds"] for r in rows), 2),
            "seconds": round(time.perf_counter() - started),
            "threads": torch.get_num_threads(),
            "rows": rows,
        }
        out.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    typer.run(run)
