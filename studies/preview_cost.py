"""What a preview costs, and whether what it says is what then happens, on `pocket`.

    python studies/preview_cost.py --out results/pocket/preview
    python studies/preview_cost.py --logged 200 --samples 12 --edits 1     # seconds

A log of so many questions is made: those of `okedit-pocket`'s training part, asked as they stand,
and others beside them, whose keys are a real one's moved by half a random mixture of real
differences, with what the untouched model says to the real one. Then edits of the evaluation part
are previewed over it, with their rephrasings given, and timed in parts: learning alone, deciding,
and each answer that is generated. The first edit of all is a warm-up.

Whether it is what happens is asked of the real questions alone: the edit is committed, they are
asked again, and compared with what the preview said of them, which edit fires and what is answered
(of logged questions there are small copies of the pictures; of a list of questions the pictures).
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import balancedit
from balancedit import Editor
from balancedit.answering.generate import GeneratedAnswer
from balancedit.data import pocket
from balancedit.files.compact import write_lines
from balancedit.serving.querylog import Noted, QueryLog, Retention
from balancedit.serving.querylog import rows as log_rows
from balancedit.serving.querylog.database import connect
from balancedit.types import BATCH_SIZE


@dataclass(frozen=True)
class Real:
    """Questions as they are asked. made: what the untouched model says, with the keys."""

    images: list[Any]
    questions: list[str]
    made: list[GeneratedAnswer]

    @property
    def pairs(self) -> list[tuple[Any, str]]:
        """(image, question) of each."""
        return list(zip(self.images, self.questions, strict=True))


def real_questions(editor: Editor, n: int, like: Sequence[Any]) -> Real:
    """n questions of the training part, and before them those that the edits `like` may reach:
    their own, a rewording, another drawing of the thing."""
    images, questions = [], []
    for sample in like:
        for image, question in (
            (sample.image, sample.question),
            (sample.image, sample.rephrases[0]),
            (sample.image_rephrases[0], sample.question),
        ):
            images.append(image.open())
            questions.append(question)
    for sample in pocket.load("edit-train")[:n]:
        images.append(sample.image.open())
        questions.append(sample.question)
    made: list[GeneratedAnswer] = []
    with editor._holding.working():
        for start in range(0, len(images), BATCH_SIZE):
            some = slice(start, start + BATCH_SIZE)
            made += editor._ask_untouched(list(zip(images[some], questions[some], strict=True)))
    return Real(images, questions, made)


def fill(path: Path, real: Real, n: int, way: str) -> None:
    """A log of n questions: the real ones, and others beside them."""
    keys = torch.stack([one.key for one in real.made if one.key is not None])
    generator = torch.Generator().manual_seed(1)
    differences = (keys - keys.mean(0)) / len(keys) ** 0.5
    small = [log_rows.small(image) for image in real.images]
    QueryLog.open(path, Retention(rows=max(1, n))).close()
    db = connect(path)
    now = time.time()
    for start in range(0, n, 1000):
        entries: list[tuple[float, Noted, bytes | None]] = []
        for number in range(start, min(start + 1000, n)):
            at = number % len(keys)
            key = keys[at]
            if number >= len(keys):
                key = key + 0.5 * (torch.randn(len(keys), generator=generator) @ differences)
            said = real.made[at].said
            numbers = key.to(torch.float16).numpy().astype(np.float16)
            noted = Noted(
                *("default", real.questions[at], True, real.images[at], way, numbers, said),
                *(None, said.text),
            )
            entries.append((now, noted, small[at]))
        log_rows.write(db, entries)
    db.close()


def timed(work: Any) -> tuple[np.ndarray, Any]:
    """Seconds by the clock and of all processors together, and what the work gave. On a machine
    with other work the second says more."""
    start = np.array([time.perf_counter(), time.process_time()])
    made = work()
    return np.array([time.perf_counter(), time.process_time()]) - start, made


def measured(editor: Editor, sample: Any, log: QueryLog, real: Real) -> dict[str, Any]:
    """One edit: previewed, timed, committed, compared, and taken back."""
    fact = (sample.image.open(), sample.question, sample.target)
    how: dict[str, Any] = {"rephrasings": [sample.rephrases[0]]}
    alone, _ = timed(lambda: editor.preview(*fact, **how))
    decided, _ = timed(lambda: editor.preview(*fact, **how, over=log, most=0))
    whole, made = timed(lambda: editor.preview(*fact, **how, over=log))
    listed = editor.preview(*fact, **how, over=real.pairs, most=len(real.pairs))
    moved, _ = timed(lambda: made.at(0.9 * made.radius))
    answered = sum(change.after is not None for change in made.changed)
    row = {
        "edit": sample.id,
        "considered": made.considered,
        "changed": len(made.changed),
        "answered": answered,
        "undecided": made.undecided,
        "alone_s": alone.tolist(),
        "decided_s": decided.tolist(),
        "whole_s": whole.tolist(),
        "a_change_s": ((whole - decided) / max(1, answered)).tolist(),
        "radius_s": moved.tolist(),
    }
    before = editor.ask(real.images, real.questions)
    editor.commit(made)
    after = editor.ask(real.images, real.questions)
    fired = [a.fired for a in after]
    for name, preview, own in (("log", made, made.edit.id), ("list", listed, listed.edit.id)):
        said = {c.number: c for c in preview.changed if c.number < len(fired)}
        row[f"{name}_decisions_other"] = sum(
            (number in said) != (f != before[number].fired) for number, f in enumerate(fired)
        )
        told = [(said[n].after, a.text) for n, a in enumerate(after) if n in said]
        told = [(text, now) for text, now in told if text is not None]
        row[f"{name}_texts"] = len(told)
        row[f"{name}_texts_other"] = sum(text != now for text, now in told)
        assert own
    editor.revert(made.edit.id)
    return row


def run(
    logged: Annotated[int, typer.Option(help="Questions in the log.")] = 10_000,
    samples: Annotated[int, typer.Option(help="Real questions among them.")] = 200,
    edits: Annotated[int, typer.Option(help="Edits previewed, beside a warm-up.")] = 12,
    held: Annotated[int, typer.Option(help="Edits in force meanwhile.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Path of the results, without suffix.")] = None,
) -> None:
    """Measure, print, and with --out keep the numbers."""
    editor = Editor.load("pocket")
    chosen = pocket.load("edit-eval")[: edits + 1 + held]
    previewed, others = chosen[: edits + 1], chosen[edits + 1 :]
    real = real_questions(editor, samples, previewed)
    facts = [balancedit.Fact(s.image.open(), s.question, s.target, s.rephrases[:1]) for s in others]
    editor.edit_many(facts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.sqlite3"
        fill(path, real, logged, editor.key_way)
        with QueryLog.read(path) as log:
            rows = [measured(editor, sample, log, real) for sample in previewed][1:]
    show(rows, len(facts))
    if out is not None:
        told = {
            "logged": logged,
            "real": len(real.images),
            "held": len(facts),
            "threads": torch.get_num_threads(),
            "machine": platform.processor() or platform.machine(),
            "version": balancedit.__version__,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        write_lines(out.with_suffix(".json"), {"about": told, "edits": rows})


def show(rows: Sequence[dict[str, Any]], held: int) -> None:
    """The medians, and what was otherwise than said."""
    console = Console(width=100)
    table = Table("of a preview", "median", "largest", "median, processors'")
    for name, what in (
        ("alone_s", "learning, over nothing, s"),
        ("decided_s", "learning and deciding, s"),
        ("whole_s", "with answers, s"),
        ("answered", "answers generated"),
        ("a_change_s", "each of them, s"),
        ("radius_s", "another radius, s"),
        ("changed", "questions that would change"),
        ("undecided", "questions not known"),
    ):
        columns = np.array([row[name] for row in rows], dtype=float).reshape(len(rows), -1).T
        wall = [f"{np.median(columns[0]):.3g}", f"{columns[0].max():.3g}"]
        table.add_row(what, *wall, f"{np.median(columns[1]):.3g}" if len(columns) > 1 else "")
    console.print(f"{rows[0]['considered']:,} logged questions, {held} edits held")
    console.print(table)
    for name, what in (("log", "from the log"), ("list", "from the questions themselves")):
        texts = sum(row[f"{name}_texts"] for row in rows)
        wrong = sum(row[f"{name}_texts_other"] for row in rows)
        others = sum(row[f"{name}_decisions_other"] for row in rows)
        console.print(
            f"{what}: {others} decided otherwise on commit, {wrong} of {texts} answers otherwise"
        )


if __name__ == "__main__":
    typer.run(run)
