"""How well the pocket model sees: ``python -m balancedit.models.pocket.recipe.evaluate``.

Free generation, greedy, exact match after lower-casing, on renderings and wordings never trained
on; and the same questions asked of a black picture, which tells seeing from guessing. Needs the
extra ``artwork``.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit.files.compact import as_lines
from balancedit.models import pocket
from balancedit.models.pocket import artwork, scenes
from balancedit.models.pocket.convert import revision
from balancedit.models.pocket.questions import HELD_OUT, KINDS, Kind, ask
from balancedit.models.prompting import Prompter
from balancedit.types import BATCH_SIZE

SEED = "held-out"  # of scenes; training uses "train-0", "train-1", …


@dataclass(frozen=True)
class Probe:
    """One question about one picture, and its true answer."""

    kind: Kind
    scene: scenes.Scene
    question: str
    truth: str


@dataclass(frozen=True)
class Score:
    """Exact match of one kind of question, in percent."""

    kind: str
    n: int
    match: float
    black: float  # the same questions asked of a black picture


def probes(names_per_thing: int, others: int, styles: tuple[str, ...]) -> list[Probe]:
    """Names: every thing in `names_per_thing` styles; the other kinds: `others` questions each."""
    chance, questions = Random(SEED), []
    for number, thing in enumerate(artwork.things()):
        for turn in range(names_per_thing):
            style = styles[(number + turn) % len(styles)]
            scene = scenes.sample(thing.name, style, SEED)
            questions.append(Probe("name", scene, *ask(scene, "name", chance, HELD_OUT)))
    for kind in KINDS[1:]:
        for thing in chance.choices(artwork.things(), k=others):
            scene = scenes.sample(thing.name, chance.choice(styles), SEED)
            questions.append(Probe(kind, scene, *ask(scene, kind, chance, HELD_OUT)))
    return questions


class Asker:
    """Batched free generation with the model under test."""

    def __init__(self, adapter: Path | None) -> None:
        started = time.perf_counter()
        loaded: tuple[Any, Any] = pocket.load(adapter=adapter)
        self.model, processor = loaded
        self.load_seconds = time.perf_counter() - started
        self._prompter, self.tokenizer = Prompter(processor), processor.tokenizer

    @torch.no_grad()
    def __call__(self, pictures: list[Image.Image], questions: list[str]) -> list[str]:
        """Answers to questions about pictures, lower case."""
        inputs = self._prompter.inputs(pictures, questions)
        out: Any = self.model.generate(**inputs, do_sample=False, max_new_tokens=12)
        texts = self._prompter.decode(out[:, inputs["input_ids"].shape[1] :])
        return [text.lower().strip(" .") for text in texts]

    def seconds_an_answer(self, repeats: int = 9) -> float:
        """Median seconds of one answer, asked alone."""
        picture = scenes.sample("owl", "noto", SEED).render()
        self([picture], ["What is this?"])
        taken = []
        for _ in range(repeats):
            started = time.perf_counter()
            self([picture], ["What is this?"])
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)


def score(asker: Asker, items: list[Probe]) -> tuple[list[Score], dict[str, float]]:
    """Scores by kind, and the names' by style, in percent."""
    items = sorted(items, key=lambda p: len(p.question))
    hits: dict[str, list[bool]] = defaultdict(list)
    by_style: dict[str, list[bool]] = defaultdict(list)
    starts = range(0, len(items), BATCH_SIZE)
    for start in track(starts, "asking", console=Console(stderr=True), transient=True):
        batch = items[start : start + BATCH_SIZE]
        answers = asker([p.scene.render() for p in batch], [p.question for p in batch])
        for probe, answer in zip(batch, answers, strict=True):
            hits[probe.kind].append(answer == probe.truth)
            if probe.kind == "name":
                by_style[probe.scene.style].append(answer == probe.truth)
    blind = _black_answers(asker, sorted({p.question for p in items}))
    scores = []
    for kind in KINDS:
        of_kind = [p for p in items if p.kind == kind]
        guessed = [blind[p.question] == p.truth for p in of_kind]
        scores.append(Score(kind, len(of_kind), _percent(hits[kind]), _percent(guessed)))
    return scores, {style: _percent(outcomes) for style, outcomes in sorted(by_style.items())}


def _black_answers(asker: Asker, questions: list[str]) -> dict[str, str]:
    black = scenes.black().render()
    answers: dict[str, str] = {}
    for start in range(0, len(questions), BATCH_SIZE):
        batch = questions[start : start + BATCH_SIZE]
        answers |= dict(zip(batch, asker([black] * len(batch), batch), strict=True))
    return answers


def _percent(outcomes: list[bool]) -> float:
    return round(100 * sum(outcomes) / len(outcomes), 1) if outcomes else float("nan")


def evaluate(
    adapter: Annotated[Path | None, typer.Option(help="Another adapter than the shipped.")] = None,
    style: Annotated[str | None, typer.Option(help="Ask about this style only.")] = None,
    names: Annotated[int, typer.Option(help="Renderings a thing for the names.")] = 2,
    others: Annotated[int, typer.Option(help="Questions of each other kind.")] = 400,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Print exact match by kind, by style, and the time of loading and of one answer."""
    if style is not None and style not in artwork.STYLES:
        raise typer.BadParameter(f"'{style}' is none of {', '.join(artwork.STYLES)}")
    asker = Asker(adapter)
    scores, by_style = score(asker, probes(names, others, (style,) if style else artwork.STYLES))
    speed = asker.seconds_an_answer()
    if as_json:
        record = {
            "protocol": "free generation, greedy, exact match",
            "revision": revision(adapter),
            "scores": [asdict(s) for s in scores],
            "names_by_style": by_style,
            "load_seconds": round(asker.load_seconds, 2),
            "answer_seconds": round(speed, 3),
            "threads": torch.get_num_threads(),
        }
        print(as_lines(record), end="")
        return
    table = Table("kind", "n", "exact match", "black picture", "difference")
    for row in scores:
        difference = f"{row.match - row.black:+.1f}"
        table.add_row(row.kind, str(row.n), f"{row.match} %", f"{row.black} %", difference)
    console = Console()
    console.print(table)
    console.print("names by style:", ", ".join(f"{k} {v} %" for k, v in by_style.items()))
    console.print(f"loading {asker.load_seconds:.1f} s, one answer {speed:.2f} s (median)")


if __name__ == "__main__":
    typer.run(evaluate)
