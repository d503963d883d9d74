"""What the pocket model can call a thing: one list of concepts from four domains.

Drawn things, groceries, clothes, and the thousand ImageNet classes by their everyday names
(`assets/classes.tsv`: index, name, kind, group and other words that a fair judge accepts). Several
concepts may share a name: a drawn owl and a photographed one. This module knows nothing about
models or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from balancedit.models.pocket import artwork, groceries

Domain = Literal["nothing", "drawing", "grocery", "clothes", "imagenet"]
#: The order of the concepts: those that the projector learns, then ImageNet's own.
LEARNED: tuple[Domain, ...] = ("nothing", "drawing", "grocery", "clothes")

#: The clothes' folders in their data set, and the everyday names of what they show.
CLOTHES: dict[str, str] = {
    "dress": "dress",
    "hat": "hat",
    "longsleeve": "long-sleeved shirt",
    "outwear": "jacket",
    "pants": "pants",
    "shirt": "shirt",
    "shoes": "shoes",
    "shorts": "shorts",
    "skirt": "skirt",
    "t-shirt": "t-shirt",
}

NAME_SLOTS, LEVEL_SLOTS = 4, 2  # tokens that stand for a name, and for a kind or group
PADDING = "."  # fills the slots after the last piece


@dataclass(frozen=True)
class Concept:
    """One thing. kind: the coarser noun, empty where there is none; group: the broad class, a food
    group for groceries; colour: empty where it has none that is certain; synonyms: for judging."""

    domain: Domain
    key: str  # in its domain: a drawn thing's name, a product's key, a folder, an index
    name: str
    kind: str
    group: str
    colour: str = ""
    synonyms: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def imagenet() -> tuple[Concept, ...]:
    """The thousand classes, in the classifier's order."""
    text = (files(__package__) / "assets" / "classes.tsv").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple(
        Concept("imagenet", index, name, kind, group, "", tuple(s for s in more.split(";") if s))
        for index, name, kind, group, more in rows
    )


@lru_cache(maxsize=1)
def concepts() -> tuple[Concept, ...]:
    """All of them: nothing, drawn things, products, clothes, then the thousand classes."""
    return (
        Concept("nothing", "", "nothing", "", "nothing"),
        *(Concept("drawing", t.name, t.name, "", t.group) for t in artwork.things()),
        *(
            Concept(
                *("grocery", p.key, p.name, p.kind, p.group, p.colour),
                groceries.SYNONYMS.get(p.name, ()),
            )
            for p in groceries.products()
        ),
        *(Concept("clothes", folder, name, "", "clothing") for folder, name in CLOTHES.items()),
        *imagenet(),
    )


@lru_cache(maxsize=1)
def numbers() -> dict[tuple[str, str], int]:
    """(domain, key) -> place among `concepts()`."""
    return {(c.domain, c.key): number for number, c in enumerate(concepts())}


def learned() -> int:
    """How many concepts the projector learns; the rest is ImageNet's."""
    return sum(c.domain in LEARNED for c in concepts())


def pieces(tokenizer: Any, text: str, slots: int) -> list[int]:
    """The token ids, `slots` of them, that stand for a text among the image tokens.

    A text of more pieces than slots is told by the first pieces of its words, then by the earliest
    others, in the text's order.
    """
    ids: list[int] = tokenizer(f" {text}", add_special_tokens=False)["input_ids"] if text else []
    padding: list[int] = tokenizer(PADDING, add_special_tokens=False)["input_ids"]
    if len(ids) > slots:
        words = [i for i, t in enumerate(tokenizer.convert_ids_to_tokens(ids)) if t[0] == "Ġ"]
        rest = [i for i in range(len(ids)) if i not in words]
        ids = [ids[i] for i in sorted([*words, *rest][:slots])]
    return (ids + padding * slots)[:slots]
