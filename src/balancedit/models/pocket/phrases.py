"""How the pocket model words an answer: a word where a word is asked for, else a sentence.

What a sentence is follows from the question's own words, so that the same question gets the same
form, as a talking model's does. This module knows nothing about models or pixels.
"""

from __future__ import annotations

from balancedit.models.pocket import groceries

#: Names that take no article.
_MASS = frozenset(
    {"garlic", "ginger", "asparagus", "rain", "snow", "fire", "honey", "butter", "bread", "sushi"}
    | {"rice", "spaghetti", "broccoli", "corn", "cheese", "bacon", "meat", "milk", "sake", "tofu"}
    | {"wine", "tea", "coffee", "cotton candy", "chocolate", "popcorn", "salt", "ice", "hay"}
    | {"lingerie", "velvet", "wool", "chain mail", "guacamole", "mashed potato", "espresso"}
    | {"red wine", "seaweed", "lightning", "fog", "money", "jewelry", "hot sauce", "nothing"}
)
#: Singular though they end in "s".
_SINGULAR = frozenset({"bus", "asparagus", "cactus", "octopus", "walrus", "hibiscus", "lotus"})
VOWELS = frozenset("aeiouAEIOU")


def is_plural(name: str) -> bool:
    """Whether a name stands for several things, as "grapes" does."""
    last = name.split()[-1]
    return last.endswith("s") and not last.endswith(("ss", "us", "is")) and last not in _SINGULAR


def noun_phrase(name: str) -> str:
    """A name as it stands in a sentence: "an owl", "sunglasses", "Arla whole milk"."""
    branded = name.startswith(groceries.brands())
    if branded or is_plural(name) or name in _MASS:
        return name
    return f"{'an' if name[0] in VOWELS and not name.startswith('uni') else 'a'} {name}"


def named(question: str, name: str) -> str:
    """A sentence that says what something is."""
    told = noun_phrase(name)
    words = question.lower()
    if name == "nothing":
        return "There is nothing in the picture."
    if " see" in words:
        return f"I see {told}."
    if any(word in words for word in ("picture", "image", "photo", "shown", "depict")):
        return f"The picture shows {told}."
    return f"These are {told}." if is_plural(name) else f"This is {told}."


def grouped(question: str, group: str) -> str:
    """A sentence about the class that something falls into."""
    if group == "nothing":
        return "There is nothing in the picture."
    if any(word in question.lower() for word in ("belong", "group", "fall", "category")):
        return f"It belongs to the category {group}."
    return f"It is a kind of {group}."


def coloured_behind(colour: str) -> str:
    """A sentence about the colour behind a drawing."""
    return f"The background is {colour}."


def counted(count: str) -> str:
    """A sentence about how many there are."""
    return f"There is {count}." if count in ("one", "none") else f"There are {count}."


def said_yes(answer: str, about: str) -> str:
    """A sentence for a yes-or-no question. about: what was asked, with its article."""
    return f"Yes, this is {about}." if answer == "yes" else f"No, this is not {about}."


def coloured(colour: str) -> str:
    """A sentence about a thing's own colour."""
    return f"It is {colour}."


def packed(packaging: str) -> str:
    """A sentence about what something is packed in."""
    return f"It is packed in a {packaging}."


def branded(brand: str) -> str:
    """A sentence about a brand."""
    return f"The brand is {brand}."


def food_group(group: str) -> str:
    """A sentence about a food group."""
    return f"It belongs to the food group {group}."
