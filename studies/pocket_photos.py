"""How well a pocket model sees photographs it never saw, and how it talks about them:
``python studies/pocket_photos.py --groceries DIR …``.

Free generation, greedy, in wordings never trained on. Short style: exact match with the name or a
listed synonym. Plain style: the sentence affirms it and no other listed answer (`bench.sentences`).
Grocery photographs are those of the test split, clothes those of the test folder; ImageNet's are
only ever measured on.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.progress import track

from balancedit.bench.metrics import exact_match
from balancedit.bench.sentences import affirmed
from balancedit.files.compact import as_lines
from balancedit.inputs.images import open_image
from balancedit.models import pocket
from balancedit.models.pocket import artwork, concepts, groceries, grocery_questions, scenes
from balancedit.models.pocket.convert import revision
from balancedit.models.pocket.questions import COUNT_WORDS, HELD_OUT, with_article
from balancedit.models.prompting import Prompter
from balancedit.types import BATCH_SIZE

NAMED = HELD_OUT["name"]
SHORT = grocery_questions.SHORT[1:]

Listed = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Question:
    """A question about a picture. truth: the short answer; others: every answer of the sort, with
    synonyms. part: what it counts for."""

    part: str
    picture: Callable[[], Image.Image]
    wording: str
    truth: str
    listed: Listed


@dataclass(frozen=True)
class Outcome:
    """What came of a question in both styles, and of the plain one as a second turn."""

    short: bool
    plain: bool
    second: bool


def grocery_test(directory: Path, limit: int | None, chance: Random) -> list[Question]:
    """Three questions, one a level, about each photograph of the test split."""
    lines = (directory / "test.txt").read_text().splitlines()
    paths = [directory / line.split(",")[0].strip() for line in lines if line.strip()]
    made = []
    for path in _some(paths, limit, chance):
        product = groceries.product(path.parent.name)
        for sort in grocery_questions.LEVELS:
            made.append(
                Question(
                    f"grocery {sort}",
                    lambda path=path: open_image(path),  # type: ignore[misc]
                    chance.choice(grocery_questions.HELD_OUT[sort]),
                    grocery_questions.answer(product, sort),
                    _listed(grocery_questions.answers(sort), groceries.SYNONYMS),
                )
            )
    return made


def clothes_test(directory: Path, limit: int | None, chance: Random) -> list[Question]:
    """The name of what each photograph of the test folder shows."""
    shown = [
        (path, name)
        for folder, name in concepts.CLOTHES.items()
        for path in sorted((directory / "test" / folder).glob("*.jpg"))
    ]
    listed = _listed(concepts.CLOTHES.values(), {})
    return [
        Question("clothes", lambda p=path: open_image(p), chance.choice(NAMED), name, listed)  # type: ignore
        for path, name in _some(shown, limit, chance)
    ]


def imagenet(directory: Path, limit: int | None, chance: Random) -> list[Question]:
    """The name of what each photograph shows; the files' order is the classes'."""
    paths = sorted(directory.glob("*.JPEG"))
    if len(paths) != len(concepts.imagenet()):
        raise typer.BadParameter(f"'{directory}' has {len(paths)} photographs, not one a class")
    every: Listed = {c.name: c.synonyms for c in concepts.imagenet()}
    return [
        Question(
            "imagenet",
            lambda p=path: open_image(p),  # type: ignore[misc]
            chance.choice(NAMED),
            concept.name,
            every,
        )
        for path, concept in _some(
            list(zip(paths, concepts.imagenet(), strict=True)), limit, chance
        )
    ]


def drawings(limit: int | None, chance: Random, only: str | None = None) -> list[Question]:
    """Every kind of question about drawings in scenes never trained on."""
    made = []
    styles = [only] if only else list(artwork.STYLES)
    names = _listed([t.name for t in artwork.things()], {})
    for number, thing in enumerate(_some(list(artwork.things()), limit, chance)):
        scene = scenes.sample(thing.name, styles[number % len(styles)], "held-out")
        asked = chance.choice(artwork.groups())
        about = thing.group if chance.random() < 0.5 else asked
        for kind, truth, listed in (
            ("name", thing.name, names),
            ("group", thing.group, _listed(artwork.groups(), {})),
            ("background", scene.background, _listed(artwork.BACKGROUNDS, {"gray": ("grey",)})),
            ("count", COUNT_WORDS[scene.count], _listed(COUNT_WORDS.values(), {})),
            ("yesno", "yes" if about == thing.group else "no", _listed(("yes", "no"), {})),
        ):
            wording = chance.choice(HELD_OUT[kind]).format(a=with_article(about))  # type: ignore[index]
            made.append(Question(f"drawing {kind}", scene.render, wording, truth, listed))
    return made


class Asker:
    """Asks a model in batches."""

    def __init__(self, adapter: Path | None) -> None:
        started = time.perf_counter()
        loaded: tuple[Any, Any] = pocket.load(adapter=adapter)
        self.model, self.processor = loaded
        self.load_seconds = time.perf_counter() - started
        self.processor.tokenizer.padding_side = "left"
        self._prompter = Prompter(self.processor)

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image], chats: Sequence[list[str]]) -> list[str]:
        """chats: what was said in turn, question, answer, question … -> the next answers."""
        texts = [self._rendered(chat) for chat in chats]
        inputs = self.processor(
            images=list(pictures), text=texts, padding=True, return_tensors="pt"
        )
        out: Any = self.model.generate(**inputs, do_sample=False, max_new_tokens=24)
        return [t.strip() for t in self._prompter.decode(out[:, inputs["input_ids"].shape[1] :])]

    def _rendered(self, chat: list[str]) -> str:
        turns = []
        for number, text in enumerate(chat):
            content: list[dict[str, str]] = [{"type": "text", "text": text}]
            if not number:
                content.insert(0, {"type": "image"})
            turns.append({"role": "assistant" if number % 2 else "user", "content": content})
        rendered: str = self.processor.apply_chat_template(turns, add_generation_prompt=True)
        return rendered


def ask_all(asker: Asker, questions: Sequence[Question], chance: Random) -> list[Outcome]:
    """Each question in short and plain style, and plainly again after another turn."""
    outcomes = []
    first = "Describe the picture."
    starts = range(0, len(questions), BATCH_SIZE)
    for at in track(starts, "asking", console=Console(stderr=True)):
        batch = questions[at : at + BATCH_SIZE]
        pictures = [q.picture() for q in batch]
        short = asker(pictures, [[f"{q.wording} {chance.choice(SHORT)}"] for q in batch])
        plain = asker(pictures, [[q.wording] for q in batch])
        said = asker(pictures, [[first]] * len(batch))
        second = asker(
            pictures, [[first, one, q.wording] for one, q in zip(said, batch, strict=True)]
        )
        for q, a, b, c in zip(batch, short, plain, second, strict=True):
            outcomes.append(
                Outcome(
                    any(exact_match(a, t) for t in (q.truth, *q.listed.get(q.truth, ()))),
                    _says(b, q),
                    _says(c, q),
                )
            )
    return outcomes


def _says(text: str, question: Question) -> bool:
    return affirmed(text, question.listed) == {question.truth}


def _listed(answers: Iterable[str], synonyms: Any) -> Listed:
    return {answer: tuple(synonyms.get(answer, ())) for answer in answers}


def _some(items: Sequence[Any], limit: int | None, chance: Random) -> list[Any]:
    if limit is None or limit >= len(items):
        return list(items)
    return [items[n] for n in sorted(chance.sample(range(len(items)), limit))]


def _percent(outcomes: Sequence[bool]) -> float:
    return round(100 * sum(outcomes) / len(outcomes), 1) if outcomes else float("nan")


def summary(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """By part: n, percent right in short style, plain style, as a second turn; and of those right
    in short style, the share right plainly."""
    parts: dict[str, list[Outcome]] = defaultdict(list)
    for question, outcome in zip(questions, outcomes, strict=True):
        parts[question.part].append(outcome)
    return {
        part: {
            "n": len(held),
            "short": _percent([o.short for o in held]),
            "plain": _percent([o.plain for o in held]),
            "second_turn": _percent([o.second for o in held]),
            "plain_of_short": _percent([o.plain for o in held if o.short]),
            "second_of_plain": _percent([o.second for o in held if o.plain]),
        }
        for part, held in parts.items()
    }


def evaluate(
    groceries_at: Annotated[
        Path | None, typer.Option("--groceries", help="GroceryStoreDataset's folder `dataset`.")
    ] = None,
    clothes_at: Annotated[Path | None, typer.Option("--clothes", help="Clothes' folder.")] = None,
    imagenet_at: Annotated[
        Path | None, typer.Option("--imagenet", help="A folder of one photograph a class.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="Another adapter than the shipped.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many pictures of each set.")] = None,
    with_drawings: Annotated[bool, typer.Option("--drawings/--no-drawings")] = True,
    style: Annotated[str | None, typer.Option(help="Drawings of this style only.")] = None,
) -> None:
    """Print JSON: percent right by part and style."""
    chance = Random("evaluate")
    asker = Asker(adapter)
    questions: list[Question] = drawings(limit, chance, style) if with_drawings else []
    if groceries_at:
        questions += grocery_test(groceries_at, limit, chance)
    if clothes_at:
        questions += clothes_test(clothes_at, limit, chance)
    if imagenet_at:
        questions += imagenet(imagenet_at, limit, chance)
    outcomes = ask_all(asker, questions, chance)
    record = {
        "protocol": "free generation, greedy; short: exact match; plain: bench.sentences",
        "revision": revision(adapter),
        "parts": summary(questions, outcomes),
        "load_seconds": round(asker.load_seconds, 2),
    }
    print(as_lines(record), end="")


if __name__ == "__main__":
    typer.run(evaluate)
