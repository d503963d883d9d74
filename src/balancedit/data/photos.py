"""`okedit-photos`: edits of what photographs of groceries show, at three levels.

A fact about a product ("Granny Smith") shall reach its other photographs and no other apple; one
about a kind ("apple") those of all its products; one about a group ("fruit") those of all its
kinds. A third of the edits change another answer about the product. Built from a fixed list of
photographs by fixed seeds; `DIGESTS` pins that. Figures are reported on *edit-eval*, whose pictures
are of GroceryStoreDataset's test split; training and settings use *edit-train*, whose are of its
train split. Each part comes in the short style and, as ``…-plain``, in the plain one. docs/data.md
tells the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from random import Random
from typing import get_args

from balancedit.data import photo_pack
from balancedit.data import sample as records
from balancedit.data.photo_facts import (
    NAME,
    VOCABULARY,
    EditPart,
    changed_sorts,
    facts,
    follows,
    group_of,
    has_siblings,
    new_answer,
    products_of,
    reached,
    unlike,
    within,
)
from balancedit.data.photo_pack import PackedPhoto
from balancedit.data.problems import Problem
from balancedit.data.sample import BlackImage, EditSample, LocalityProbe, PortabilityProbe
from balancedit.errors import DataError, InputError, nearest_names
from balancedit.models.pocket.groceries import GROUPS, Product
from balancedit.models.pocket.grocery_questions import (
    HELD_OUT,
    LEVELS,
    SORTS,
    TRAINED,
    Sort,
    Style,
    answer,
    any_group,
    phrased,
    sorts,
)

EDIT_PARTS: tuple[EditPart, ...] = get_args(EditPart)
PLAIN = "-plain"  # ends the name of a part whose questions are in the plain style
PARTS = (*EDIT_PARTS, *(part + PLAIN for part in EDIT_PARTS))
REPHRASES = 5
REACHED = 5  # other photographs that an edit's level must reach
SIMILAR = 4
UNRELATED = 3

#: The split that a part's photographs are of; those of never-edited products too, beside it.
SOURCES: dict[EditPart, str] = {"edit-eval": "test", "edit-train": "train"}

#: `digest` of each part, as in `pocket.py`.
DIGESTS: dict[str, str] = {
    "edit-eval": "9ec692f19a6444a358d031a80d4c1b6809f9ab2510c81c1fc89a7fd3fcbe8ead",
    "edit-train": "4309187dce9470b3ae3fa7e5a2d8947e31ec876ab92d0c9e281c279ee0821273",
    "edit-eval-plain": "90b8f3c8e70b593245e6b538ce88f78c6a68817faf85eacb4106d465b23f6bdd",
    "edit-train-plain": "393457ce63a8643281d7bde784955b67a0123a8ea9c25f4d5a58536f012a7b30",
}


def load(part: str) -> list[EditSample]:
    """The edits of a part, all sorts of answer mixed, always in the same order. No picture is
    looked at. Raises `InputError` for unknown parts."""
    if part not in PARTS:
        raise InputError(f"{NAME} has no part '{part}'{nearest_names(part, PARTS)}")
    style: Style = "plain" if part.endswith(PLAIN) else "short"
    whole: EditPart = "edit-eval" if part.startswith("edit-eval") else "edit-train"
    return [_edit(product, sort, whole, style) for product, sort in _plan(whole)]


def digest(part: str) -> str:
    """SHA-256 over all records of a part and the list of photographs. Raises `InputError`."""
    return records.digest(load(part), source=photo_pack.selection_sha256())


def damaged(part: str) -> list[Problem]:
    """A finding for each photograph of a part that cannot be opened."""
    found: dict[str, Problem] = {}
    for sample in load(part):
        for image in dict.fromkeys(records.images(sample)):
            if isinstance(image, PackedPhoto) and image.name not in found:
                try:
                    image.open()
                except DataError as error:
                    found[image.name] = Problem("missing-image", sample.id, str(error))
    return list(found.values())


@lru_cache(maxsize=1)
def _photos() -> dict[tuple[str, str], tuple[PackedPhoto, ...]]:
    """The photographs by split and product."""
    found: dict[tuple[str, str], list[PackedPhoto]] = {}
    for name in photo_pack.selected():
        path = PurePosixPath(name)
        found.setdefault((path.parts[0], path.parent.name), []).append(PackedPhoto(name))
    return {key: tuple(held) for key, held in found.items()}


@lru_cache(maxsize=2)
def _plan(part: EditPart) -> tuple[tuple[Product, Sort], ...]:
    """Which answer about which product is edited: every level that tells it from others, and other
    answers: of a packed product its brand and, in turn, a yes or no or its packaging; of another
    product, in turn, its colour (where it has one) or a yes or no."""
    plan: list[tuple[Product, Sort]] = []
    for i, product in enumerate(products_of(part)):
        plan += [
            (product, level) for level in LEVELS if level != "product" or has_siblings(product)
        ]
        if product.brand:
            plan += [(product, "brand"), (product, "packaging" if i % 2 else "yesno")]
        else:
            plan.append((product, "colour" if product.colour and i % 2 else "yesno"))
    Random(f"{NAME}/{part}").shuffle(plan)
    return tuple(plan)


class _Pictures:
    """The photographs of one edit: none is shown twice for a purpose, nor the edited one again."""

    def __init__(self, product: Product, sort: Sort, part: EditPart, chance: Random) -> None:
        self._part, self._chance = part, chance
        own = list(self._all(product))
        self.edited = own[SORTS.index(sort) % len(own)]  # another for each sort of edit
        own.remove(self.edited)
        chance.shuffle(own)
        self._left = {product.key: own}

    def _all(self, product: Product) -> tuple[PackedPhoto, ...]:
        return _photos()[SOURCES[self._part], product.key]

    def next(self, product: Product) -> PackedPhoto:
        """A photograph of the product that was not yet given."""
        if product.key not in self._left:
            self._left[product.key] = self._chance.sample(
                self._all(product), len(self._all(product))
            )
        return self._left[product.key].pop()

    def spread(self, among: list[Product], n: int) -> list[tuple[Product, PackedPhoto]]:
        """n photographs, of as many of the products as there are."""
        order = self._chance.sample(among, len(among))
        return [(p, self.next(p)) for p in (order * n)[:n]]


def _edit(product: Product, sort: Sort, part: EditPart, style: Style) -> EditSample:
    name = f"{part}/{sort}/{product.name}"
    chance = Random(f"{NAME}/{name}")  # the style has no say: both are about the same pictures
    pictures = _Pictures(product, sort, part, chance)
    about = any_group(product, chance)  # what a yes-or-no question asks
    old, target = answer(product, sort, about), new_answer(product, sort, about, part, chance)
    wordings = (chance.choice(TRAINED[sort]), *chance.sample(HELD_OUT[sort], REPHRASES))
    question, *rephrases = (phrased(w, style, about, i) for i, w in enumerate(wordings))
    shown = [
        *pictures.spread([product], 1),
        *pictures.spread(reached(product, sort, part), REACHED - 1),
    ]
    asking = _Asking(chance, style)
    changed = changed_sorts(product, sort, target)
    # a yes-or-no question is safe where it is about a group that neither answer is of
    touched = {product.group, group_of(sort, target)} if "yesno" in changed else set()
    spared = [g for g in GROUPS if g not in touched] if touched else []
    return EditSample(
        id=f"{part}{PLAIN if style == 'plain' else ''}/{sort}/{product.name}",
        image=pictures.edited,
        question=question,
        target=target,
        original_answer=old,
        rephrases=tuple(rephrases),
        image_rephrases=tuple(image for _, image in shown),
        locality=(
            *(
                _probe("similar", p, image, question, sort, about)
                for p, image in _similar(pictures, product, sort, about, target)
            ),
            *(
                asking.probe("same-image", product, pictures.edited, other, spared)
                for other in sorts(product)
                if other != sort and (other not in changed or other == "yesno")
            ),
            *(
                asking.probe("unrelated", p, image, chance.choice(_others(p, sort)))
                for p, image in pictures.spread(
                    [p for p in products_of("never-edited") if p.group != product.group], UNRELATED
                )
            ),
            LocalityProbe("no-image", None, question, None),
            LocalityProbe("black", BlackImage(photo_pack.SIDE), question, None),
        ),
        portability=tuple(
            PortabilityProbe(pictures.edited, asking.question(s, whose), truth)
            for s, whose, truth in follows(product, sort, about, target)
        ),
        category=product.group,
        kind=sort,
        shows=product.name,
        reaches=facts(product)[sort] if sort in LEVELS else (),
        style=style,
        vocabulary=VOCABULARY,
    )


def _similar(
    pictures: _Pictures, product: Product, sort: Sort, about: str, target: str
) -> list[tuple[Product, PackedPhoto]]:
    """Two photographs of the nearest of those (siblings, else the same group, else any), the others
    of other kinds, of the same group where it has some."""
    spared = unlike(product, sort, about, target)
    relatives = [p for p in spared if p.group == product.group]
    near = [p for p in spared if p.kind == product.kind] or relatives or spared
    chosen = pictures.spread(near, 2)
    used = {p for p, _ in chosen}
    others = [p for p in spared if p.kind != product.kind and p not in used] or spared
    closer = [p for p in others if p.group == product.group]
    return chosen + pictures.spread(closer or others, SIMILAR - len(chosen))


# -- asking --------------------------------------------------------------------------------------


class _Asking:
    """Questions in wordings never trained on, in one style."""

    def __init__(self, chance: Random, style: Style) -> None:
        self._chance, self._style = chance, style

    def question(self, sort: Sort, about: str = "") -> str:
        return phrased(
            self._chance.choice(HELD_OUT[sort]), self._style, about, self._chance.randrange(1, 4)
        )

    def probe(
        self,
        kind: records.LocalityKind,
        product: Product,
        image: PackedPhoto,
        sort: Sort,
        groups: Sequence[str] = (),
    ) -> LocalityProbe:
        """A probe; groups: those that a yes-or-no question may be about, if not any."""
        about = self._chance.choice(groups) if groups else any_group(product, self._chance)
        return _probe(kind, product, image, self.question(sort, about), sort, about)


def _others(product: Product, sort: Sort) -> list[Sort]:
    return [s for s in sorts(product) if s != sort]


def _probe(
    kind: records.LocalityKind,
    product: Product,
    image: PackedPhoto,
    question: str,
    sort: Sort,
    about: str,
) -> LocalityProbe:
    truth, wider = answer(product, sort, about), within(product, sort)
    return LocalityProbe(kind, image, question, truth, shows=product.name, within=wider)
