"""A few edits as pictures: what every method answers after the edit (paper, Table 1).

    python studies/picture_table.py --out results/figures

The first edits of the data of each kind of answer asked for, none chosen by hand. Each edit is made
alone with each method and taken back after its questions. Where the data have no probe of a black
picture, one is added. Protocol: free generation. An answer is right (✓) where it is the target, and
in the columns of what must not change, where it is the untouched model's own answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from illustrated import Data, Device, Dtype, Model, Out, Part, Sheet, opened
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit import Editor
from balancedit.bench.contenders import Contender, parse_all
from balancedit.bench.plot_style import SMALL, folded, style
from balancedit.bench.protocols import PROTOCOLS, REACH, Probe, probes
from balancedit.data.sample import EditSample
from balancedit.inputs.images import solid
from balancedit.methods import METHODS
from balancedit.models.loading import LoadedModel

#: What is shown of each edit: the first probe of each, by what it measures -> the column's heading.
COLUMNS = {
    "Acc": "edited picture",
    "T-Gen": "rephrased",
    "I-Gen": "other picture",
    "similar": "similar thing",
    "same-image": "other question",
    "black": "black picture",
}
OURS = "balancedit"
BASE = "base"

_LABEL, _COLUMN, _PICTURE, _LINE = 1.05, 1.12, 0.9, 0.2  # inches
_WORDS = 0.52  # height of a question


@dataclass(frozen=True)
class Block:
    """One edit: its questions, and each method's answers to them with their marks."""

    sample: EditSample
    asked: list[Probe]
    answers: dict[str, list[tuple[str, bool]]]  # method -> (text, right) a question


def shown(sample: EditSample) -> list[Probe]:
    """One probe a column, as far as the data have them."""
    found = {p.measures: p for p in reversed(probes(sample))}
    image = found["Acc"].image
    if image is not None:
        black = solid(image.size, "black")
        found.setdefault("black", Probe("black", black, sample.question, sample.original_answer))
    return [found[measure] for measure in COLUMNS if measure in found]


def answered(
    loaded: LoadedModel, chosen: Sequence[EditSample], methods: Sequence[Contender]
) -> list[Block]:
    """Make every edit with every method, ask, take it back."""
    protocol = PROTOCOLS["generate"]
    untouched = Editor.on(loaded)
    blocks = []
    for sample in chosen:
        asked = shown(sample)
        before = protocol.outputs(untouched, asked, len(asked))
        blocks.append(Block(sample, asked, {BASE: _marked(asked, before, before)}))
    for contender in methods:
        name = contender.name
        editor = contender.editor(loaded)
        for block in track(blocks, name, console=Console(stderr=True)):
            sample = block.sample
            edit = editor.edit(sample.image.open(), sample.question, sample.target)
            after = protocol.outputs(editor, block.asked, len(block.asked))
            editor.revert(edit.id)
            before = [text for text, _ in block.answers[BASE]]
            block.answers[name] = _marked(block.asked, before, after)
    return blocks


def draw(blocks: Sequence[Block], about: Sequence[str]) -> Sheet:
    """The grid of pictures."""
    rows = len(blocks[0].answers)
    measures = [probe.measures for probe in blocks[0].asked]
    reached = sum(measure in REACH for measure in measures)
    height = 0.42 + _PICTURE + _WORDS + _LINE * rows + 0.3
    width = _LABEL + _COLUMN * len(measures) + 0.1
    title = "After one edit: what each method answers"
    sheet = Sheet(width, 0.45 + height * len(blocks), title, about)
    must = ((0, reached, "must answer the target"), (reached, len(measures), "must stay as it was"))
    for first, last, words in must:
        left, right = _LABEL + _COLUMN * first, _LABEL + _COLUMN * last - 0.12
        sheet.text((left + right) / 2, 0.16, words, weight="bold", ha="center")
        sheet.rule(0.29, left, right)
    for i, block in enumerate(blocks):
        _draw_block(sheet, block, 0.45 + height * i, width)
    return sheet


def _draw_block(sheet: Sheet, block: Block, top: float, width: float) -> None:
    old, new = block.sample.original_answer, block.sample.target
    sheet.text(0.15, top + 0.1, f"{old} → {new}", weight="bold")
    y = top + 0.24
    columns = [_LABEL + _COLUMN * i for i in range(len(block.asked))]
    for x, probe in zip(columns, block.asked, strict=True):
        sheet.faint(x + _PICTURE / 2, y + 0.06, COLUMNS[probe.measures], SMALL, ha="center")
        assert probe.image is not None  # every column has a picture
        sheet.picture(probe.image, x, y + 0.18, _PICTURE)
        words = folded(probe.question, _COLUMN - 0.1, SMALL)
        sheet.text(x, y + 0.18 + _PICTURE + 0.05, words, SMALL - 0.5, va="top")
    y += 0.18 + _PICTURE + _WORDS
    for name, answers in block.answers.items():
        sheet.rule(y, 0.15, width - 0.15)
        ours = name.startswith(OURS)
        sheet.word(0.15, y + _LINE / 2, name, SMALL, weight="bold" if ours else "normal")
        for x, (text, right) in zip(columns, answers, strict=True):
            sheet.verdict(x, y + _LINE / 2, _short(text), right, SMALL)
        y += _LINE


def _marked(asked: list[Probe], before: list[str], after: list[str]) -> list[tuple[str, bool]]:
    judged = PROTOCOLS["generate"].judged(asked, before, after)
    return [
        (text, set(outcome.values()) == {1.0}) for text, outcome in zip(after, judged, strict=True)
    ]


def _short(text: str, limit: int = 15) -> str:
    line = " ".join(text.split()) or "(nothing)"
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def run(
    out: Out,
    kinds: Annotated[
        str, typer.Option(help="Kinds of answer edited, with commas between.")
    ] = "name,group,count",
    n: Annotated[int, typer.Option(help="Edits of each kind, the first of the data.")] = 1,
    methods: Annotated[
        str, typer.Option(help="As for `balancedit bench run`; all by default.")
    ] = ",".join(sorted(METHODS, key=lambda name: name == OURS)),
    preset: Annotated[
        str, typer.Option(help="Of the methods that name none themselves.")
    ] = "recommended",
    model: Model = "pocket",
    data: Data = "okedit-pocket",
    part: Part = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Draw the table and print its answers."""
    contenders = parse_all(methods, preset)
    loaded, samples, named = opened(model, data, part, device, dtype)
    chosen = [s for kind in kinds.split(",") for s in [s for s in samples if s.kind == kind][:n]]
    if not chosen:
        there = ", ".join(sorted({s.kind for s in samples}))
        raise typer.BadParameter(f"no edit of {named} is of these kinds; there are: {there}")
    blocks = answered(loaded, chosen, contenders)
    for block in blocks:
        sample = block.sample
        title = f"{sample.id}: {sample.original_answer} → {sample.target}"
        headings = [COLUMNS[probe.measures] for probe in block.asked]
        table = Table("", *headings, title=title)
        for name, answers in block.answers.items():
            table.add_row(name, *(f"{'✓' if right else '✗'} {text}" for text, right in answers))
        Console().print(table)
    first = "first edit" if n == 1 else f"first {n} edits"
    data_set = f"data: {named}, the {first} of each kind: {kinds.replace(',', ', ')}"
    about = ("protocol: generate", f"model: {loaded.name}", data_set, "one edit held at a time")
    with style():
        draw(blocks, about).save(out, "picture_table")


if __name__ == "__main__":
    typer.run(run)
