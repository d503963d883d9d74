"""What the pocket model is trained on, row by row: the same step number gives the same rows.

A row is (rendering or None, prompt, answer). Most ask about a rendering; some carry a fact in the
prompt, to be followed where it answers what is asked, so that in-context editing has a fair chance;
a few are plain text, to keep the language model's own voice.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

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

#: Shares of the kinds, in the order of KINDS: even at first, then mostly names, of which there are
#: hundreds, and yes or no, which takes longest.
KIND_WEIGHTS = (0.42, 0.16, 0.16, 0.16, 0.10)
LATE_WEIGHTS = (0.62, 0.06, 0.05, 0.10, 0.17)
LATE_FROM = 50  # step
BLACK_SHARE = 0.02  # of the image rows show a plain black picture
BLACK = -1  # its rendering number


class Row(NamedTuple):
    """One training example; `rendering` numbers the features, BLACK or None for no picture."""

    rendering: int | None
    prompt: str
    answer: str


def image_rows(shown: list[Scene], count: int, step: int, chance: Random) -> list[Row]:
    """Questions of all kinds about random renderings."""
    weights = KIND_WEIGHTS if step < LATE_FROM else LATE_WEIGHTS
    rows = []
    for _ in range(count):
        kind = chance.choices(KINDS, weights)[0]
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
    """Prompts with a fact before the question, after none to four demonstrations.

    In seven of ten the fact is of the kind that is asked, and wins over the picture; otherwise it
    says something true of another kind and the picture answers.
    """
    rows = []
    for _ in range(count):
        number = chance.randrange(len(shown))
        scene = shown[number]
        before = "".join(_demonstration(chance) for _ in range(chance.choice((0, 0, 1, 2, 4))))
        kind = chance.choices(OPEN_KINDS, (0.55, 0.15, 0.15, 0.15))[0]
        question, true = ask(scene, kind, chance)
        if chance.random() < 0.7:
            answer = any_answer(kind, scene, chance)
            fact = f"{chance.choice(TRAINED[kind])} {answer}"
        else:
            answer = true
            fact = " ".join(ask(scene, chance.choice([k for k in OPEN_KINDS if k != kind]), chance))
        rows.append(Row(number, f"{before}New Fact: {fact}\nPrompt: {question}", answer))
    return rows


def _demonstration(chance: Random) -> str:
    other = chance.choice(siblings(chance.choice(things()).name))
    first, second = chance.choice(TRAINED["name"]), chance.choice(TRAINED["name"])
    fact, asked = f"{first} {other}", f"{second} {other}"
    if chance.random() >= 0.6:
        asked = f"{chance.choice(TRAINED['background'])} {chance.choice(sorted(BACKGROUNDS))}"
    return f"New Fact: {fact}\nPrompt: {asked}\n\n"


#: Plain-text prompts; the untouched language model answers them before training, and the trained
#: one is held to those answers.
TEXT_PROMPTS = (
    "What is the capital of France?",
    "Explain what a bridge is.",
    "Write a sentence about the sea.",
    "How do birds fly?",
    "What is two plus three?",
    "Name three fruits.",
    "Why is the sky blue?",
    "Give me advice for sleeping well.",
    "What does a teacher do?",
    "Tell me a short story about a fox.",
    "How is bread made?",
    "What is gravity?",
    "Who wrote Hamlet?",
    "What is a good breakfast?",
    "List the days of the week.",
    "How can I learn to draw?",
    "What is the opposite of hot?",
    "Describe a forest in autumn.",
    "What are the primary colors?",
    "How does rain form?",
    "Write a greeting for a friend.",
    "What is the largest planet?",
    "Explain how a bicycle works.",
    "What do bees make?",
    "What is a synonym of happy?",
    "Rephrase: The cat sat on the mat.",
    "Translate hello into Spanish.",
    "What is the boiling point of water?",
    "Why do we need sleep?",
    "How many legs does a spider have?",
    "Please rephrase the following question in 3 different ways: What is this?",
    "Please rephrase the following question in 2 different ways: What colour is the car?",
)
