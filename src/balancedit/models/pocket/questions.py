"""What the pocket model is asked: five kinds of question, their phrasings and right answers.

Every kind has phrasings for training and others, disjoint, for evaluation and for the rephrasings
of edits.  `{x}` in a yes/no phrasing stands for a class such as "an animal".  Answers are short,
lower case and without a full stop.  This module knows nothing about models.
"""

from __future__ import annotations

from balancedit.models.pocket import artwork
from balancedit.models.pocket.scenes import Scene

KINDS = ("name", "group", "background", "count", "yes-no")
NUMBERS = ("zero", "one", "two", "three", "four")
NOTHING = "nothing"  # what a plain black picture shows, whatever it is called or belongs to

# How each class is put into a yes/no question.
GROUP_PHRASE: dict[str, str] = {
    "animal": "an animal",
    "building": "a building",
    "clothing": "a piece of clothing",
    "drink": "a drink",
    "electronics": "an electronic device",
    "food": "food",
    "household": "a household item",
    "music": "something for music",
    "nature": "part of nature",
    "office": "an office item",
    "plant": "a plant",
    "sport": "sports equipment",
    "tool": "a tool",
    "toy": "a toy",
    "vehicle": "a vehicle",
}

TRAIN_PHRASINGS: dict[str, tuple[str, ...]] = {
    "name": (
        "What is this?",
        "What is in the picture?",
        "What do you see?",
        "What does this image show?",
        "Name this thing.",
        "What thing is shown here?",
        "Can you tell me what this is?",
        "Which object is this?",
        "What is the object in the image?",
        "Identify the thing in the picture.",
        "What is drawn here?",
        "What am I looking at?",
        "Tell me what the picture shows.",
        "What is the name of this?",
        "What can be seen here?",
        "Please name the object.",
    ),
    "group": (
        "What kind of thing is this?",
        "What category does this belong to?",
        "Which group does this thing belong to?",
        "What type of thing is it?",
        "What class of object is this?",
        "In which category would you put this?",
        "Which kind of object is in the picture?",
        "Name the category of this thing.",
        "What sort of thing is shown?",
        "What group is this in?",
        "To which class does the object belong?",
        "Classify this thing.",
    ),
    "background": (
        "What colour is the background?",
        "What is the background color?",
        "What color is behind it?",
        "Which colour does the background have?",
        "Name the colour of the background.",
        "What is the color of the background in this picture?",
        "What colour is the picture's background?",
        "In what color is the background painted?",
        "Tell me the background colour.",
        "Which color is the backdrop?",
        "What colour do you see behind the object?",
        "On what color is this drawn?",
    ),
    "count": (
        "How many are there?",
        "How many things are in the picture?",
        "How many objects do you see?",
        "Count the things in the picture.",
        "How many copies are shown?",
        "What is the number of objects?",
        "How many of them can you count?",
        "How many items does the image show?",
        "Tell me how many there are.",
        "What number of things is drawn?",
        "How many are drawn here?",
        "Count the objects.",
    ),
    "yes-no": (
        "Is this {x}?",
        "Is it {x}?",
        "Does the picture show {x}?",
        "Do you see {x} here?",
        "Is the thing in the picture {x}?",
        "Would you call this {x}?",
        "Is the object {x}?",
        "Can this be called {x}?",
        "Is {x} shown here?",
        "Is what you see {x}?",
    ),
}

HELD_OUT_PHRASINGS: dict[str, tuple[str, ...]] = {
    "name": (
        "What is shown in this picture?",
        "Which thing can you see here?",
        "What would you call this?",
        "What object does the image contain?",
        "Could you name what is shown?",
        "What is it that you see in the picture?",
        "Tell me what this is.",
        "What is depicted here?",
    ),
    "group": (
        "Which category is this thing in?",
        "What kind of object do you see?",
        "What type of object is shown here?",
        "Which class does this belong to?",
        "What sort of object is this?",
        "Tell me the category of this object.",
    ),
    "background": (
        "Which colour is the background?",
        "What color does the background have?",
        "What is the colour behind the object?",
        "Tell me the color of the background.",
        "Which color is used for the background?",
        "What is the backdrop's colour?",
    ),
    "count": (
        "How many objects are in this image?",
        "How many things can you see?",
        "What is the number of things shown?",
        "How many items are there?",
        "Can you count the objects in the picture?",
        "How many of these are in the picture?",
    ),
    "yes-no": (
        "Does this image show {x}?",
        "Is {x} in the picture?",
        "Would you say this is {x}?",
        "Is the thing shown here {x}?",
        "Could this be {x}?",
        "Is this object {x}?",
    ),
}


def question(kind: str, phrasing: str, about: str | None = None) -> str:
    """The words of a question; `about` is the class a yes/no question asks for."""
    return phrasing.format(x=GROUP_PHRASE[about or ""]) if kind == "yes-no" else phrasing


def answer(kind: str, scene: Scene, about: str | None = None) -> str:
    """The right answer to a question of `kind` about `scene`.

    A black picture shows nothing, is black, and holds zero things; every yes/no answer is no.
    Raises ValueError for an unknown kind.
    """
    group = artwork.thing(scene.thing).group if scene.thing else NOTHING
    if kind == "name":
        return scene.thing or NOTHING
    if kind == "group":
        return group
    if kind == "background":
        return scene.background
    if kind == "count":
        return NUMBERS[scene.count]
    if kind == "yes-no":
        return "yes" if about == group else "no"
    raise ValueError(f"no kind of question is called {kind!r}; there are {', '.join(KINDS)}")
