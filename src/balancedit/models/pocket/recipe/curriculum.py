"""What the pocket model is trained on, row by row: the same step number gives the same rows.

A row is (rendering, prompt, answer). Most ask about a rendering; some carry a fact in the prompt,
to be followed where it answers what is asked, so that in-context editing has a fair chance.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

from balancedit.inputs.wording import fact
from balancedit.models.pocket import scenes
from balancedit.models.pocket.artwork import BACKGROUNDS, things
from balancedit.models.pocket.questions import (
    KINDS,
    OPEN_KINDS,
    TRAINED,
    any_answer,
    ask,
    siblings,
)
from balancedit.models.pocket.scenes import Scene

#: Shares of the kinds, in the order of KINDS: names, of which there are hundreds, and yes or no,
#: which takes longest, come most often.
KIND_WEIGHTS = (0.5, 0.1, 0.1, 0.1, 0.2)
DEMONSTRATIONS = (0, 0, 1, 2, 4, 8, 16)  # before a fact
BLACK_SHARE = 0.02  # of the image rows show a plain black picture
BLACK = -1  # its number


class Row(NamedTuple):
    """One training example; `rendering` numbers the features, or is BLACK."""

    rendering: int
    prompt: str
    answer: str


def image_rows(shown: list[Scene], count: int, chance: Random) -> list[Row]:
    """Questions of all kinds about random renderings."""
    rows = []
    for _ in range(count):
        kind = chance.choices(KINDS, KIND_WEIGHTS)[0]
        if chance.random() < BLACK_SHARE:
            rows.append(Row(BLACK, *ask(_black(kind, chance), kind, chance)))
        else:
            number = chance.randrange(len(shown))
            rows.append(Row(number, *ask(shown[number], kind, chance)))
    return rows


def _black(kind: str, chance: Random) -> Scene:
    """A black picture; for a yes-or-no question, of a random thing that is not to be seen."""
    thing = chance.choice(things()).name if kind == "yesno" else ""
    return replace(scenes.black(), thing=thing)


def fact_rows(shown: list[Scene], count: int, chance: Random) -> list[Row]:
    """Prompts with a fact before the question, after none to sixteen demonstrations.

    In seven of ten the fact is of the kind that is asked, and wins over the picture; otherwise it
    says something true of another kind and the picture answers.
    """
    rows = []
    for _ in range(count):
        number = chance.randrange(len(shown))
        scene = shown[number]
        before = "".join(_demonstration(chance) for _ in range(chance.choice(DEMONSTRATIONS)))
        kind = chance.choices(OPEN_KINDS, (0.55, 0.15, 0.15, 0.15))[0]
        question, true = ask(scene, kind, chance)
        if chance.random() < 0.7:
            answer = any_answer(kind, scene, chance)
            stated = (chance.choice(TRAINED[kind]), answer)
        else:
            answer = true
            stated = ask(scene, chance.choice([k for k in OPEN_KINDS if k != kind]), chance)
        rows.append(Row(number, before + fact(*stated) + question, answer))
    return rows


def _demonstration(chance: Random) -> str:
    other = chance.choice(siblings(chance.choice(things()).name))
    first, second = chance.choice(TRAINED["name"]), chance.choice(TRAINED["name"])
    asked = f"{second} {other}"
    if chance.random() >= 0.6:
        asked = f"{chance.choice(TRAINED['background'])} {chance.choice(sorted(BACKGROUNDS))}"
    return f"{fact(first, other)}{asked}\n\n"
