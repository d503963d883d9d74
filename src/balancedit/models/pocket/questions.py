"""Questions about a scene and their answers, in wordings for training and others for judging.

Five kinds: what the thing is called, what kind of thing it is, the colour behind it, how many there
are, and yes or no about its kind. The two sets of wordings share none. This module knows nothing
about models or pixels.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from balancedit.models.pocket.artwork import BACKGROUNDS, groups, thing, things
from balancedit.models.pocket.scenes import Scene

Kind = Literal["name", "group", "background", "count", "yesno"]
KINDS: tuple[Kind, ...] = ("name", "group", "background", "count", "yesno")
OPEN_KINDS: tuple[Kind, ...] = ("name", "group", "background", "count")
COUNT_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}

#: Answers about a plain black picture.
BLACK_ANSWERS = {
    "name": "nothing",
    "group": "nothing",
    "background": "black",
    "count": "none",
    "yesno": "no",
}

TRAINED: dict[Kind, tuple[str, ...]] = {
    "name": (
        "What is this?",
        "What is in the picture?",
        "What does the picture show?",
        "Name the thing in the picture.",
        "What do you see?",
        "What thing is shown here?",
        "What is this called?",
        "Identify the object.",
        "What is shown in the image?",
        "What object is this?",
        "Tell me what this is.",
        "What is depicted here?",
        "Which thing is this?",
        "Can you name this?",
        "What's this?",
        "What is the thing in this image?",
    ),
    "group": (
        "What kind of thing is this?",
        "Which category does this belong to?",
        "What group is this in?",
        "What class of thing is shown?",
        "What type of thing is this?",
        "Name the category of the thing.",
        "To which group does it belong?",
        "What sort of thing do you see?",
        "Which class does the object fall into?",
        "Give the category of this object.",
        "What general kind is it?",
        "What category is shown in the picture?",
    ),
    "background": (
        "What colour is the background?",
        "What color is the background?",
        "Which colour is behind the thing?",
        "What is the background colour?",
        "Name the colour of the background.",
        "Which color does the background have?",
        "What colour is behind it?",
        "The background has which colour?",
        "What colour surrounds the object?",
        "In which colour is the background painted?",
        "Tell me the background color.",
        "What is the color of the backdrop?",
    ),
    "count": (
        "How many are there?",
        "How many things are shown?",
        "How many do you see?",
        "Count the things in the picture.",
        "What is the number of objects?",
        "How many objects are in the image?",
        "How many of them are there?",
        "Give the number of things.",
        "How many items does the picture show?",
        "How many times is it drawn?",
        "Tell me how many there are.",
        "What is the count of things here?",
    ),
    "yesno": (
        "Is this {a}?",
        "Is the thing in the picture {a}?",
        "Do you see {a} here?",
        "Is {a} shown?",
        "Does the picture show {a}?",
        "Would you call this {a}?",
        "Is it {a}?",
        "Can this be called {a}?",
    ),
}

#: Never trained on.
HELD_OUT: dict[Kind, tuple[str, ...]] = {
    "name": (
        "What is the object in the picture?",
        "Which object do you see here?",
        "What would you call this?",
        "Please name what is shown.",
        "What thing can be seen in the photo?",
        "Tell me the name of this thing.",
        "What does this image show?",
    ),
    "group": (
        "What kind of object is it?",
        "Which group does the thing belong to?",
        "What category of thing is this?",
        "Into which class does this fall?",
        "What sort of object is shown here?",
        "Tell me the category of this thing.",
    ),
    "background": (
        "What colour does the background have?",
        "Which colour is the background?",
        "Tell me the colour behind the thing.",
        "What color is behind the object?",
        "The backdrop is what color?",
        "What is the colour of the background?",
    ),
    "count": (
        "How many objects do you see?",
        "How many are shown in the picture?",
        "What number of things is there?",
        "Tell me the number of objects.",
        "How many things are in the image?",
        "Count the objects shown here.",
    ),
    "yesno": (
        "Is the object {a}?",
        "Does the image show {a}?",
        "Is that {a} in the picture?",
        "Is what you see {a}?",
        "Would you say this is {a}?",
        "Is {a} what is shown here?",
    ),
}

_COUNTABLE = frozenset({"animal", "building", "plant", "drink", "tool", "toy", "vehicle"})


def with_article(group: str) -> str:
    """A group as it stands in a yes-or-no question: "an animal", "a kind of music"."""
    if group not in _COUNTABLE:
        return f"a kind of {group}"
    return f"an {group}" if group[0] in "aeiou" else f"a {group}"


def answer(scene: Scene, kind: Kind, asked_group: str = "") -> str:
    """The true answer about a scene; `asked_group` is what a yes-or-no question asks about."""
    if not scene.style:
        return BLACK_ANSWERS[kind]
    if kind == "yesno":
        return "yes" if thing(scene.thing).group == asked_group else "no"
    return {
        "name": scene.thing,
        "group": thing(scene.thing).group,
        "background": scene.background,
        "count": COUNT_WORDS[scene.count],
    }[kind]


def ask(
    scene: Scene, kind: Kind, chance: Random, wordings: dict[Kind, tuple[str, ...]] = TRAINED
) -> tuple[str, str]:
    """A question of a kind about a scene in a random wording, and its true answer.

    Yes-or-no questions ask about the scene's own group half the time.
    """
    if kind != "yesno":
        return chance.choice(wordings[kind]), answer(scene, kind)
    own = thing(scene.thing).group if scene.thing else ""
    asked = own
    if not own or chance.random() >= 0.5:
        asked = chance.choice([g for g in groups() if g != own])
    return chance.choice(wordings[kind]).format(a=with_article(asked)), answer(scene, kind, asked)


def any_answer(kind: Kind, scene: Scene, chance: Random) -> str:
    """A plausible answer of a kind: for a name, another thing of the same Unicode subgroup."""
    if kind == "name":
        return chance.choice(siblings(scene.thing))
    choices = {
        "group": groups(),
        "background": tuple(sorted(BACKGROUNDS)),
        "count": tuple(COUNT_WORDS.values()),
        "yesno": ("yes", "no"),
    }
    return chance.choice(choices[kind])


def siblings(name: str) -> tuple[str, ...]:
    """The names of all things in a thing's Unicode subgroup, itself among them."""
    subgroup = thing(name).subgroup
    return tuple(t.name for t in things() if t.subgroup == subgroup)
