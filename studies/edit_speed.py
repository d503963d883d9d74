"""How long a person waits for an edit of `pocket` without giving rephrasings, and what became of
its rewording when that was made faster.

    python studies/edit_speed.py --out results/pocket/edit-speed.json

Facts with a question each that no other of them has, so that every one is reworded anew. Each is
taught twice in turn, into memory, and taken back: once with the question reworded as it was before,
by a beam search over the whole prompt of 24 tokens whatever was said, and once as it is now
(`models/pocket/recipe/plain.py`). Seconds are the wall's and the processor's: on a machine that
does other things the latter are what to compare. How many rewordings are usable is counted as
`scope/rephrasing.py` accepts them, and how far the radius moves is its ratio, now to before.

The first edit is timed in processes of its own: right after loading the model, and after
`Editor.warm_up`.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, LlamaForCausalLM

from balancedit import Editor
from balancedit.bench.provenance import provenance
from balancedit.data import pocket
from balancedit.data.sample import EditSample
from balancedit.files.compact import write_lines
from balancedit.inputs.text import listed
from balancedit.models.loading import load_model
from balancedit.models.pocket import PlainRephraser, convert
from balancedit.models.pocket.recipe.plain import AFTER, BEFORE
from balancedit.scope.rephrasing import accepted
from balancedit.types import Edit

Rephrase = Callable[[str, int], list[str]]
WAYS = ("before", "now")


def as_before() -> Rephrase:
    """Rewordings as they were made before."""
    folder = convert.ensure()
    model: Any = LlamaForCausalLM.from_pretrained(folder / convert.PLAIN, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / convert.MODEL)

    @torch.no_grad()
    def rephrase(question: str, n: int) -> list[str]:
        text = (BEFORE + AFTER).format(question=question)
        inputs = tokenizer(text, split_special_tokens=True, return_tensors="pt")
        out = model.generate(
            **inputs, do_sample=False, num_beams=4, num_return_sequences=4, max_new_tokens=24
        )
        made = out[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(made, skip_special_tokens=True)
        return [lines[0] for text in texts if (lines := listed(text))]

    return rephrase


@dataclass
class Taking:
    """A rephraser that is now one and now another, and notes what it said and how long it took."""

    ways: dict[str, Rephrase]
    way: str = "now"
    said: tuple[str, ...] = ()
    seconds: tuple[float, float] = (0.0, 0.0)

    def __call__(self, question: str, n: int) -> list[str]:
        made, self.seconds = timed(lambda: self.ways[self.way](question, n))
        self.said = tuple(made)
        return made


def timed(do: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What came of it, and its seconds: the wall's and the processor's."""
    wall, processor = time.perf_counter(), time.process_time()
    made = do()
    return made, (time.perf_counter() - wall, time.process_time() - processor)


def facts(n: int) -> list[EditSample]:
    """Facts of *edit-train* with a question each, of all kinds in turn."""
    by_kind: dict[str, dict[str, EditSample]] = {}
    for sample in pocket.load("edit-train"):
        by_kind.setdefault(sample.kind, {}).setdefault(sample.question, sample)
    rows = [list(of_kind.values()) for _, of_kind in sorted(by_kind.items())]
    longest = max(map(len, rows))
    found = [row[i] for i in range(longest) for row in rows if i < len(row)]
    return list({sample.question: sample for sample in reversed(found)}.values())[::-1][:n]


def teach(editor: Editor, taking: Taking, sample: EditSample, way: str) -> dict[str, Any]:
    """One fact, taught and taken back."""
    taking.way = way
    editor._loaded.pictures.forget()
    made, seconds = timed(lambda: editor.edit(sample.image.open(), sample.question, sample.target))
    edit: Edit = made
    editor.revert(edit.id)
    usable = accepted(sample.question, taking.said)
    return {
        **{"wall": seconds[0], "processor": seconds[1]},
        **{"rewording_wall": taking.seconds[0], "rewording_processor": taking.seconds[1]},
        **{"said": len(taking.said), "usable": len(usable), "source": edit.positives_source},
        **{"wording": edit.positives[0], "radius": edit.radius, "d_positive": edit.d_positive},
    }


FIRST = """
import json, sys, time
from balancedit import Editor
editor = Editor.load("pocket")
if {warm}: editor.warm_up()
from balancedit.data import pocket
sample = pocket.load("edit-train")[0]
image = sample.image.open()
wall, processor = time.perf_counter(), time.process_time()
editor.edit(image, sample.question, sample.target)
print(json.dumps([time.perf_counter() - wall, time.process_time() - processor]))
"""


def first(*, warm: bool) -> list[float]:
    """Seconds of a process' first edit, the wall's and the processor's."""
    code = FIRST.format(warm=warm)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of either way, usable rewordings, and the radius' ratios."""
    ratios = [row["now"]["radius"] / row["before"]["radius"] for row in rows]
    found: dict[str, Any] = {
        way: {
            name: statistics.median(row[way][name] for row in rows)
            for name in ("wall", "processor", "rewording_wall", "rewording_processor")
        }
        | {
            "usable": sum(row[way]["usable"] for row in rows),
            "from_the_model": sum(row[way]["source"] == "model" for row in rows),
        }
        for way in WAYS
    }
    return found | {
        "radius_now_to_before": {
            "geometric_mean": math.exp(statistics.fmean(map(math.log, ratios))),
            "least": min(ratios),
            "most": max(ratios),
            "same": sum(row["now"]["wording"] == row["before"]["wording"] for row in rows),
        }
    }


def run(
    n: Annotated[int, typer.Option(help="Facts.")] = 20,
    firsts: Annotated[int, typer.Option(help="Processes whose first edit is timed.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Write every figure as JSON.")] = None,
) -> None:
    """Measure, print medians."""
    taking = Taking({"before": as_before(), "now": PlainRephraser()})
    editor = Editor.on(replace(load_model("pocket"), rephraser=taking))
    samples = facts(n)
    for way in WAYS:  # what is found out or loaded once
        teach(editor, taking, replace(samples[0], question="What do you see here?"), way)
    rows = []
    for number, sample in enumerate(samples):
        order = WAYS if number % 2 else WAYS[::-1]
        made = {way: teach(editor, taking, sample, way) for way in order}
        rows.append({"question": sample.question, **{way: made[way] for way in WAYS}})
        print(json.dumps(rows[-1]), flush=True)
    starts = {
        name: [first(warm=warm) for _ in range(firsts)]
        for name, warm in (("after loading", False), ("after warm_up", True))
    }
    found = summary(rows)
    _print(found, starts)
    if out is not None:
        about = {"model": "pocket", "n": len(rows), "machine": provenance(editor._loaded)}
        write_lines(out, about | {"summary": found, "first_edit": starts, "facts": rows})


def _print(found: dict[str, Any], starts: dict[str, list[list[float]]]) -> None:
    table = Table("", *WAYS)
    for name in found["now"]:
        shown = [found[way][name] for way in WAYS]
        table.add_row(name, *(f"{x:.3g}" for x in shown))
    console = Console()
    console.print(table)
    console.print(found["radius_now_to_before"])
    for name, seconds in starts.items():
        walls, processors = zip(*seconds, strict=True) if seconds else ((0.0,), (0.0,))
        console.print(
            f"first edit {name}: {statistics.median(walls):.2f} s, "
            f"{statistics.median(processors):.2f} s of the processor"
        )


if __name__ == "__main__":
    typer.run(run)
