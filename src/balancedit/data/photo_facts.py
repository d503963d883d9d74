"""What a fact about a photographed product is, at its level: what it must reach, what it may
rightly change, what follows from it, and which products it must spare. The rules of `photos.py`.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from balancedit.data.vocabulary import Vocabulary
from balancedit.models.pocket import groceries
from balancedit.models.pocket.artwork import Split
from balancedit.models.pocket.groceries import GROUPS, SYNONYMS, Product, products
from balancedit.models.pocket.grocery_questions import LEVELS, SORTS, Sort, answer, answers, sorts

NAME = "okedit-photos"
EditPart = Literal["edit-eval", "edit-train"]

VOCABULARY = Vocabulary(
    NAME,
    answers={s: {a: SYNONYMS.get(a, ()) for a in answers(s)} for s in SORTS},
    ignored={"group": ("passion fruit",), "colour": ("orange juice",)},
)


def products_of(part: Split) -> list[Product]:
    return [p for p in products() if p.split == part]


def has_siblings(product: Product) -> bool:
    """Whether its kind has other products, which a fact about it must not reach."""
    return len(groceries.of_kind(product.kind)) > 1


def facts(product: Product) -> dict[Sort, tuple[str, ...]]:
    """The wider facts that an edit of a level is about."""
    return {
        "product": (),
        "kind": (f"kind: {product.kind}",),
        "group": (f"group: {product.group}",),
    }


def within(product: Product, sort: Sort) -> tuple[str, ...]:
    """The wider facts that an answer about a product follows: what a kind is decides its group, and
    where a kind has one product, what that is."""
    wider = facts(product)
    if sort in ("group", "yesno"):
        return wider["kind"] + wider["group"]
    if sort == "kind" or (sort == "product" and not has_siblings(product)):
        return wider["kind"]
    return ()


def reached(product: Product, sort: Sort, part: EditPart) -> list[Product]:
    """The products whose photographs the fact must reach, beside one of its own: of a kind,
    others of this part and never-edited ones; of a group, those of other kinds, where there are
    any."""
    near = [p for p in (*products_of(part), *products_of("never-edited")) if p != product]
    if sort == "kind":
        return [p for p in near if p.kind == product.kind] or [product]
    if sort == "group":
        alike = [p for p in near if p.group == product.group]
        return [p for p in alike if p.kind != product.kind] or alike or [product]
    return [product]


def new_answer(product: Product, sort: Sort, about: str, part: EditPart, chance: Random) -> str:
    """Another answer of the sort. A kind, and a group in a part, always gets the same one, so that
    edits held together agree. Never-edited products, which serve as probes, are no targets."""
    if sort == "product":
        return _other_product(product, chance).name
    if sort == "kind":
        fixed = Random(f"{NAME}/kind/{product.kind}")
        edited = [p for p in products() if p.split != "never-edited" and p.kind != product.kind]
        near = [p.kind for p in edited if p.group == product.group]
        far = [p.kind for p in edited if p.group != product.group]
        return fixed.choice(near if near and fixed.random() < 0.5 else far)
    if sort == "group":
        fixed = Random(f"{NAME}/{part}/group/{product.group}")
        return fixed.choice([g for g in GROUPS if g != product.group])
    old = answer(product, sort, about)
    return chance.choice([a for a in answers(sort) if a != old])


def _other_product(product: Product, chance: Random) -> Product:
    """Another apple, another fruit or another thing, a third each where there are such."""
    edited = [p for p in products() if p.split != "never-edited" and p != product]
    siblings = [p for p in edited if p.kind == product.kind]
    relatives = [p for p in edited if p.group == product.group and p not in siblings]
    others = [p for p in edited if p.group != product.group]
    return chance.choice(chance.choice([c for c in (siblings, relatives, others) if c]))


def _named(name: str) -> Product:
    return next(p for p in products() if name in (p.name, p.kind))


def unlike(product: Product, sort: Sort, about: str, target: str) -> list[Product]:
    """Never-edited products that the fact must not reach, though asked the same: they are no case
    of the fact, and never the target. About other answers than the levels', the edit's old answer
    is true of them (of a brand or colour, where there are such): what it must not mistake for its
    own."""
    calm = products_of("never-edited")
    if sort in LEVELS:
        level = {"product": "name", "kind": "kind", "group": "group"}[sort]
        own = getattr(product, level)
        return [p for p in calm if getattr(p, level) not in (own, target)]
    old = answer(product, sort, about)
    asked = [p for p in calm if sort in sorts(p)]
    alike = [p for p in asked if answer(p, sort, about) == old]
    return alike or [p for p in asked if answer(p, sort, about) != target]


def group_of(sort: Sort, target: str) -> str:
    """The group that a new answer at one of the levels is of."""
    return target if sort == "group" else _named(target).group


def changed_sorts(product: Product, sort: Sort, target: str) -> set[Sort]:
    """The sorts of question about the same picture that the new fact may rightly change as well."""
    changed: set[Sort] = set()
    if sort == "group":
        changed = {"yesno"}
    elif sort == "yesno":
        changed = {"group"}
    elif sort == "brand" or (sort == "colour" and product.colour in product.name.split()):
        changed = {"product"}
    elif sort in ("product", "kind"):
        other = _named(target)
        changed |= {"product"} if not has_siblings(product) else set()
        changed |= {"kind"} if other.kind != product.kind else set()
        changed |= {"group", "yesno"} if other.group != product.group else set()
        changed |= {"brand"} if sort == "product" and other.brand != product.brand else set()
        changed |= {"packaging"} if bool(other.brand) != bool(product.brand) else set()
    return changed


def follows(product: Product, sort: Sort, about: str, target: str) -> list[tuple[Sort, str, str]]:
    """What follows from the new fact: sort of question, the group it asks about, the answer."""
    if sort == "group":
        return [("yesno", target, "yes"), ("yesno", product.group, "no")]
    if sort == "yesno":
        return [("group", "", about)] if target == "yes" else []
    if sort not in LEVELS:
        return []
    other, found = _named(target), list[tuple[Sort, str, str]]()
    if sort == "product" and other.kind != product.kind:
        found.append(("kind", "", other.kind))
    if other.group != product.group:
        found.append(("group", "", other.group))
    return found
