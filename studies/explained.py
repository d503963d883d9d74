"""Two answers explained, one as it should be and one not (paper, Fig. 4).

    python studies/explained.py --n 12 --out results/figures

The first edits of the data are held together by BalancEdit, and all their probes are asked (without
those that show a thing which another of these edits is about). Shown are the first success in the
order of the data, a picture never seen that the right edit answers, and the first failure: an
answer that an edit took over though it should have stayed, or where there is none, one that no edit
changed though it should have. How many were searched, and how many there are of each, is printed.
Protocol: free generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from illustrated import GOOD, Data, Device, Dtype, Model, Out, Part, Sheet, opened
from rich.console import Console
from rich.progress import track

from balancedit import Editor
from balancedit.bench.plot_style import INK, LARGE, MUTED, SMALL, folded, style
from balancedit.bench.protocols import PROTOCOLS, REACH, Probe, probes
from balancedit.data.sample import EditSample
from balancedit.types import Answer, Explanation

NEAREST = 3  # edits shown beside an answer
ASKED = {
    "Acc": "the edit's own picture and question",
    "T-Gen": "the edit's picture, rephrased",
    "I-Gen": "another picture of the edited thing",
    "similar": "a similar thing, the edit's question",
    "same-image": "the edit's picture, another question",
    "unrelated": "another thing, another question",
    "no-image": "the edit's question without a picture",
    "black": "the edit's question about a black picture",
}
_WIDTH, _CASE, _SIDE, _ROW = 7.4, 2.75, 1.5, 0.62  # inches
_LEFT, _THUMB, _AXIS, _END = 2.6, 3.18, 4.95, 7.2


@dataclass(frozen=True)
class Asked:
    """One probe of one held edit, and what came of it."""

    sample: EditSample
    probe: Probe
    own: str  # id of the sample's edit
    before: str
    answer: Answer
    right: bool

    @property
    def success(self) -> bool:
        """The right edit answers about a picture it was not made with."""
        return self.right and self.probe.measures == "I-Gen" and self.answer.fired == self.own

    @property
    def taken_over(self) -> bool:
        """An edit changed an answer that should have stayed."""
        return not self.right and self.probe.measures not in REACH and self.answer.fired is not None

    @property
    def missed(self) -> bool:
        """An answer that should have changed did not, or not to the target."""
        return not self.right and self.probe.measures in REACH


def search(editor: Editor, samples: Sequence[EditSample]) -> tuple[list[Asked], dict[str, int]]:
    """Ask every probe before and after all edits. Returns what came of each, and which sample each
    edit is of (edit id -> index)."""
    things = {s.shows for s in samples}
    kept = [
        [p for p in probes(s) if p.measures in REACH or p.shows not in things - {s.shows}]
        for s in samples
    ]
    before = [
        [a.text for a in ask(editor, asked)]
        for asked in track(kept, "before", console=Console(stderr=True))
    ]
    edits = {}
    for i, sample in enumerate(track(samples, "editing", console=Console(stderr=True))):
        edits[editor.edit(sample.image.open(), sample.question, sample.target).id] = i
    found = []
    for own, sample, asked, old in zip(edits, samples, kept, before, strict=True):
        answers = ask(editor, asked)
        judged = PROTOCOLS["generate"].judged(asked, old, [a.text for a in answers])
        found += [
            Asked(sample, probe, own, text, answer, set(outcome.values()) == {1.0})
            for probe, text, answer, outcome in zip(asked, old, answers, judged, strict=True)
        ]
    return found, edits


def ask(editor: Editor, asked: Sequence[Probe]) -> list[Answer]:
    """The answers to some probes."""
    return editor.ask([p.image for p in asked], [p.question for p in asked])


def draw(
    success: tuple[Asked, Explanation] | None,
    failure: tuple[Asked, Explanation] | None,
    samples: dict[str, EditSample],
    about: Sequence[str],
) -> Sheet:
    """Both cases, one below the other; a case that was not found says so."""
    sheet = Sheet(_WIDTH, 2 * _CASE, "Why an edited model answers as it does", about)
    for top, word, case in ((0.1, "success", success), (_CASE, "failure", failure)):
        if case is None:
            sheet.text(0.15, top + 0.12, f"No {word} found", LARGE, weight="bold")
        else:
            _draw_case(sheet, top, word, *case, samples)
    sheet.rule(_CASE - 0.1, 0.15, _WIDTH - 0.15)
    return sheet


def _draw_case(
    sheet: Sheet,
    top: float,
    word: str,
    asked: Asked,
    why: Explanation,
    samples: dict[str, EditSample],
) -> None:
    title = f"A {word}: {ASKED[asked.probe.measures]}"
    sheet.text(0.15, top + 0.12, title, LARGE, weight="bold")
    y = top + 0.36
    if asked.probe.image is not None:
        sheet.picture(asked.probe.image, 0.15, y, _SIDE)
    y += _SIDE + 0.14
    sheet.text(0.15, y, folded(asked.probe.question, 2.4, SMALL), SMALL)
    sheet.verdict(0.15, y + 0.22, why.answer.text, asked.right)
    wanted = asked.sample.target if asked.probe.measures in REACH else asked.before
    sheet.faint(0.15, y + 0.42, f"untouched model: {why.base_text}; wanted: {wanted}", SMALL)
    _draw_neighbours(sheet, top + 0.36, why, samples)


def _draw_neighbours(
    sheet: Sheet, top: float, why: Explanation, samples: dict[str, EditSample]
) -> None:
    """The nearest edits, each with how far it lies and how wide it reaches, on one scale."""
    sheet.faint(_LEFT, top + 0.02, "nearest edits", SMALL)
    sheet.faint(_AXIS, top + 0.02, "distance (dot) and radius (bar)", SMALL)
    longest = 1.08 * max(max(n.distance, n.radius) for n in why.neighbours)
    for i, near in enumerate(why.neighbours):
        y = top + 0.2 + _ROW * i
        middle = y + _ROW / 2 - 0.06
        sheet.picture(samples[near.edit.id].image.open(), _LEFT, y, _ROW - 0.12)
        fired = near.edit.id == why.answer.fired
        words = f"{folded(near.edit.question, 1.45, SMALL)}\n→ {near.edit.target}"
        weight = "bold" if fired else "normal"
        sheet.text(_THUMB, middle, words, SMALL - 1, weight=weight, va="center")
        scale = (_END - _AXIS) / longest
        radius, dot = _AXIS + near.radius * scale, _AXIS + near.distance * scale
        colour = GOOD if fired else MUTED
        sheet.axes.plot(
            [_AXIS, radius], [middle] * 2, color=colour, lw=7, alpha=0.3, solid_capstyle="butt"
        )
        sheet.axes.plot([radius] * 2, [middle - 0.08, middle + 0.08], color=colour, lw=1.5)
        inside = INK if near.inside else "white"
        sheet.axes.plot([dot], [middle], "o", ms=6, color=INK, markerfacecolor=inside)
        said = f"{near.distance:.3g} {'≤' if near.inside else '>'} {near.radius:.3g}"
        sheet.faint(_AXIS + 0.06, middle + 0.18, f"{said}{', fires' if fired else ''}", SMALL - 1)
    sheet.axes.plot([_AXIS] * 2, [top + 0.15, top + 0.1 + _ROW * len(why.neighbours)], color=MUTED)


def _explained(editor: Editor, asked: Asked | None) -> tuple[Asked, Explanation] | None:
    if asked is None:
        return None
    return asked, editor.explain(asked.probe.image, asked.probe.question, nearest=NEAREST)


def run(
    out: Out,
    n: Annotated[int, typer.Option(help="Edits held, the first of the data.")] = 12,
    preset: Annotated[str, typer.Option(help="Settings of BalancEdit.")] = "recommended",
    model: Model = "pocket",
    data: Data = "okedit-pocket",
    part: Part = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Search, explain and draw."""
    loaded, samples, named = opened(model, data, part, device, dtype)
    samples = samples[:n]
    editor = Editor.on(loaded, preset=preset)
    found, edits = search(editor, samples)
    taken, missed = [a for a in found if a.taken_over], [a for a in found if a.missed]
    success = _explained(editor, next((a for a in found if a.success), None))
    failure = _explained(editor, next(iter([*taken, *missed]), None))
    searched = f"{len(found)} probes of {n} edits searched"
    counts = f"{len(taken)} answers wrongly taken over, {len(missed)} not changed as wanted"
    console = Console()
    console.print(f"{searched}: {sum(a.right for a in found)} right, {counts}", soft_wrap=True)
    for word, case in (("success", success), ("failure", failure)):
        if case is None:
            console.print(f"no {word} found")
        else:
            asked, why = case
            what = f"{word}: {asked.sample.id}, {ASKED[asked.probe.measures]}"
            console.print(f"{what}: {why.reason}", soft_wrap=True)
    about = ("protocol: generate", f"model: {loaded.name}", f"data: {named}")
    held = f"balancedit:{preset}, the first {n} edits held together"
    with style():
        of = {edit: samples[i] for edit, i in edits.items()}
        draw(success, failure, of, (*about, held, f"{searched}: {counts}")).save(out, "explained")


if __name__ == "__main__":
    typer.run(run)
