"""Questions about a photographed product and their answers, in two styles and in wordings for
training and others for judging.

Seven sorts: the product, its kind and its group, the three levels; yes or no about its group, and
its colour, packaging or brand. `TRAINED` and `HELD_OUT` share no wording. A wording is a *plain*
question, which a person would answer with a sentence; the *short* style asks for a word or phrase.
This module knows nothing about models or pixels.
"""

from __future__ import annotations

from random import Random
from typing import Literal, get_args

from balancedit.errors import InputError, nearest_names
from balancedit.models.pocket import groceries
from balancedit.models.pocket.groceries import COLOURS, GROUPS, PACKAGINGS, Product

Sort = Literal["product", "kind", "group", "yesno", "colour", "packaging", "brand"]
SORTS: tuple[Sort, ...] = get_args(Sort)
LEVELS: tuple[Sort, ...] = ("product", "kind", "group")
Style = Literal["plain", "short"]
STYLES: tuple[Style, ...] = get_args(Style)

TRAINED: dict[Sort, tuple[str, ...]] = {
    "product": (
        "What product is this?",
        "Which product does the photo show?",
        "Name the product in the picture.",
        "Exactly which product is this?",
    ),
    "kind": (
        "What kind of food or drink is this?",
        "What sort of grocery is shown?",
        "Which kind of grocery is in the photo?",
        "Name the kind of food or drink in the picture.",
    ),
    "group": (
        "Which food group does this belong to?",
        "What group of groceries is this in?",
        "Which group would a shop put this in?",
        "Name the food group of this item.",
    ),
    "yesno": (
        "Is this {a}?",
        "Does the photo show {a}?",
        "Is the item in the picture {a}?",
        "Would you call this {a}?",
    ),
    "colour": (
        "What color is it?",
        "Which color does the item have?",
        "What is the color of the product?",
        "Name the color of this item.",
    ),
    "packaging": (
        "What is it packed in?",
        "What kind of package is this?",
        "Which packaging does the product have?",
        "Name the packaging in the picture.",
    ),
    "brand": (
        "What brand is this?",
        "Which brand made this product?",
        "Name the brand of this item.",
        "Whose brand is on the package?",
    ),
}

HELD_OUT: dict[Sort, tuple[str, ...]] = {
    "product": (
        "What is this product called?",
        "Which product can be seen here?",
        "Could you tell me exactly which product this is?",
        "What would the price tag call this product?",
        "Identify the product shown here.",
        "What is the name of the product in this image?",
    ),
    "kind": (
        "In everyday words, what kind of food or drink is it?",
        "What type of grocery can be seen here?",
        "Could you say what sort of food or drink this is?",
        "What kind of item would this be on a shopping list?",
        "Identify the kind of grocery in this image.",
        "Broadly, what sort of item did someone photograph here?",
    ),
    "group": (
        "To which group of foods would you count this?",
        "Under which food group is this item filed?",
        "Could you tell me the food group of what is shown?",
        "Which broad group of groceries does the image show?",
        "What food group is the photographed item from?",
        "Sort this item into its food group.",
    ),
    "yesno": (
        "Can this be called {a}?",
        "Would a shop count this as {a}?",
        "Is what you see here {a}?",
        "Could you tell me whether this is {a}?",
        "Is {a} shown in this image?",
        "Did someone photograph {a} here?",
    ),
    "colour": (
        "Which color do you see on the item?",
        "Could you tell me the color of this?",
        "What color would you say this item is?",
        "How would you describe the color of what is shown?",
        "In which color does the item appear?",
        "Identify the color of the thing in this image.",
    ),
    "packaging": (
        "What sort of container does it come in?",
        "Could you tell me what this is packaged in?",
        "In what is the product sold?",
        "Which type of container can be seen here?",
        "What container holds the product in this image?",
        "Identify the packaging of this product.",
    ),
    "brand": (
        "Which brand name is on this?",
        "Could you tell me the brand of the product?",
        "Under what brand is this sold?",
        "Which company's label does the product carry?",
        "Identify the brand shown in this image.",
        "From which brand is the photographed product?",
    ),
}

#: Appended to a plain question, these ask for a short answer; the first is for training.
SHORT = (
    "Answer with a single word or phrase.",
    "Give a short answer.",
    "Answer briefly.",
    "Just the answer, no sentence.",
)

_ARTICLES = {"dairy": "a dairy product"}


def with_article(group: str) -> str:
    """A group as a yes-or-no question names it."""
    return _ARTICLES.get(group, f"a {group}")


def phrased(wording: str, style: Style, about: str = "", ending: int = 0) -> str:
    """A question in a style. about: the group that a yes-or-no question asks for; ending: which of
    `SHORT` the short style appends, counted round."""
    question = wording.format(a=with_article(about) if about else "")
    return question if style == "plain" else f"{question} {SHORT[ending % len(SHORT)]}"


def sorts(product: Product) -> tuple[Sort, ...]:
    """The sorts of question that have a certain answer about a product."""
    if product.brand:
        return (*LEVELS, "yesno", "packaging", "brand")
    return (*LEVELS, "yesno", "colour") if product.colour else (*LEVELS, "yesno")


def answer(product: Product, sort: Sort, about: str = "") -> str:
    """The true answer. about: the group that a yes-or-no question asks for. Raises `InputError` for
    a question that has no certain answer about the product."""
    if sort not in sorts(product):
        asked = nearest_names(sort, sorts(product))
        raise InputError(f"nobody knows the {sort} of '{product.name}'{asked}")
    if sort == "yesno":
        return "yes" if product.group == about else "no"
    return {
        "product": product.name,
        "kind": product.kind,
        "group": product.group,
        "colour": product.colour,
        "packaging": "carton",
        "brand": product.brand,
    }[sort]


def answers(sort: Sort) -> tuple[str, ...]:
    """Everything that may be answered to a sort of question."""
    return {
        "product": tuple(p.name for p in groceries.products()),
        "kind": groceries.kinds(),
        "group": GROUPS,
        "yesno": ("yes", "no"),
        "colour": COLOURS,
        "packaging": PACKAGINGS,
        "brand": groceries.brands(),
    }[sort]


def any_group(product: Product, chance: Random) -> str:
    """A group to ask a yes-or-no question about: the product's own half the time."""
    if chance.random() < 0.5:
        return product.group
    return chance.choice([g for g in GROUPS if g != product.group])
