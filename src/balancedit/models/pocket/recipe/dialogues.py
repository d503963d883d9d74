"""What the pocket model's language part is trained on: short conversations about a picture.

The same seed gives the same conversation. Pictures are of a concept; what is asked is what is
certain about it. Half the questions are plain and get a sentence, half ask for a word and get it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from balancedit.inputs.wording import fact
from balancedit.models.pocket import grocery_questions, phrases, questions
from balancedit.models.pocket.artwork import BACKGROUNDS, groups, things
from balancedit.models.pocket.concepts import Concept, concepts
from balancedit.models.pocket.groceries import GROUPS, Product, product
from balancedit.models.pocket.questions import COUNT_WORDS
from balancedit.models.pocket.recipe.wordings import DESCRIBE, MORE, POLITE, SHORT

DOMAINS = {"drawing": 0.42, "grocery": 0.25, "imagenet": 0.24, "clothes": 0.06, "nothing": 0.03}
TURNS = ((1, 2, 3), (0.55, 0.3, 0.15))
#: Food groups as a yes-or-no question about a drawn class sees them.
_BROAD = {"fruit": "food", "vegetable": "food", "dairy": "food", "dairy alternative": "food"}
DEMONSTRATIONS = (0, 0, 0, 1, 2, 4)  # before a fact


@dataclass(frozen=True)
class Seen:
    """What a picture shows. count, background: of a drawing."""

    concept: Concept
    background: str = ""
    count: int = 1


@dataclass(frozen=True)
class Turn:
    """A question and its right answer."""

    question: str
    answer: str


def talk(seen: Seen, chance: Random) -> list[Turn]:
    """One to three turns about a picture, no two of a sort."""
    turns: list[Turn] = []
    wanted = chance.choices(*TURNS)[0]
    sorts = list(_sorts(seen))
    while sorts and len(turns) < wanted:
        sort = chance.choices(sorts, [_WEIGHTS[s] for s in sorts])[0]
        sorts.remove(sort)
        turns.append(_turn(seen, sort, chance))
    return turns


def talk_with_fact(seen: Seen, chance: Random) -> list[Turn]:
    """A fact in the prompt, after none to four demonstrations. In seven of ten it is of the sort
    that is asked, and wins over the picture; otherwise it says something of another sort, or of
    another thing, and the picture answers."""
    before = "".join(_demonstration(chance) for _ in range(chance.choice(DEMONSTRATIONS)))
    able = [s for s in _sorts(seen) if s in _OPEN]
    sort = chance.choices(able, [_WEIGHTS[s] for s in able])[0]
    asked, true, worded = _question(seen, sort, chance)
    if chance.random() < 0.7:
        answer = _another(seen, sort, chance)
        stated = (_question(seen, sort, chance)[0], answer)
    else:
        answer = true
        other = chance.choice([s for s in able if s != sort] or able)
        stated = _question(seen, other, chance)[:2]
        if other == sort:
            stated = ("What is the capital of France?", "Paris")
    prompt = before + fact(*stated)
    if chance.random() < 0.5:
        return [Turn(f"{prompt}{asked} {chance.choice(SHORT)}", answer)]
    return [Turn(prompt + asked, worded(answer))]


_WEIGHTS = {
    **{"name": 0.4, "group": 0.12, "background": 0.12, "count": 0.13, "yesno": 0.17},
    **{"describe": 0.09, "product": 0.25, "kind": 0.18, "food group": 0.13, "colour": 0.1},
    **{"packaging": 0.06, "brand": 0.08},
}
_OPEN = frozenset(
    {"name", "group", "background", "count", "product", "kind", "food group", "colour", "brand"}
)


def _sorts(seen: Seen) -> Sequence[str]:
    match seen.concept.domain:
        case "drawing":
            return ("name", "group", "background", "count", "yesno", "describe")
        case "grocery":
            more = grocery_questions.sorts(_product(seen))
            return (
                *("name", "product", "kind", "food group", "group", "yesno", "describe"),
                *(s for s in ("colour", "packaging", "brand") if s in more),
            )
        case "nothing":
            return ("name", "group", "background", "count", "yesno", "describe")
        case _:
            return ("name", "group", "yesno", "describe")


def _product(seen: Seen) -> Product:
    return product(seen.concept.key)


def _turn(seen: Seen, sort: str, chance: Random) -> Turn:
    if sort == "describe":
        return Turn(chance.choice(DESCRIBE), described(seen))
    asked, answer, worded = _question(seen, sort, chance)
    if chance.random() < 0.5:
        return Turn(f"{asked} {chance.choice(SHORT)}", answer)
    return Turn(asked, worded(answer))


def _question(seen: Seen, sort: str, chance: Random):  # type: ignore[no-untyped-def]
    """A question, its short answer, and how an answer to it becomes a sentence."""
    concept = seen.concept
    if sort == "yesno":
        return _yes_no(seen, chance)
    if sort == "name":
        asked = _wording(sort, questions.TRAINED["name"], chance)
        return asked, concept.name, lambda name: phrases.named(asked, name)
    if sort == "group":
        asked = _wording(sort, questions.TRAINED["group"], chance)
        return asked, concept.group, lambda group: phrases.grouped(asked, group)
    if sort == "background":
        asked = _wording(sort, questions.TRAINED["background"], chance)
        return asked, seen.background or "black", phrases.coloured_behind
    if sort == "count":
        asked = _wording(sort, questions.TRAINED["count"], chance)
        count = COUNT_WORDS[seen.count] if concept.domain != "nothing" else "none"
        return asked, count, phrases.counted
    known = "group" if sort == "food group" else sort
    asked = _wording(sort, grocery_questions.TRAINED[known], chance)  # type: ignore[index]
    answer = grocery_questions.answer(_product(seen), known)  # type: ignore[arg-type]
    worded = {
        "product": lambda name: phrases.named(asked, name),
        "kind": lambda kind: phrases.named(asked, kind),
        "food group": phrases.food_group,
        "colour": phrases.coloured,
        "packaging": phrases.packed,
        "brand": phrases.branded,
    }[sort]
    return asked, answer, worded


def _wording(sort: str, trained: Sequence[str], chance: Random) -> str:
    wording = chance.choice((*trained, *MORE.get(sort, ())))
    return chance.choice(POLITE) + wording if chance.random() < 0.08 else wording


def _yes_no(seen: Seen, chance: Random):  # type: ignore[no-untyped-def]
    concept = seen.concept
    right = chance.random() < 0.5 and concept.domain != "nothing"
    if concept.domain == "grocery" and chance.random() < 0.75:
        group = concept.group if right else _other(GROUPS, concept.group, chance)
        about = grocery_questions.with_article(group)
        asked = _wording("yesno", grocery_questions.TRAINED["yesno"], chance).format(a=about)
    elif concept.kind and chance.random() < 0.4:
        every = [c.kind for c in concepts() if c.domain == concept.domain]
        kind = concept.kind if right else _other(every, concept.kind, chance)
        about = phrases.noun_phrase(kind)
        asked = _wording("yesno", questions.TRAINED["yesno"], chance).format(a=about)
    else:
        own = _BROAD.get(concept.group, concept.group)
        group = own if right else _other(groups(), own, chance)
        about = questions.with_article(group)
        asked = _wording("yesno", questions.TRAINED["yesno"], chance).format(a=about)
    return asked, "yes" if right else "no", lambda answer: phrases.said_yes(answer, about)


def _other(choices: Sequence[str], own: str, chance: Random) -> str:
    return chance.choice([c for c in choices if c != own])


def described(seen: Seen) -> str:
    """A sentence or two about a picture, from what is known of it."""
    concept = seen.concept
    told = phrases.noun_phrase(concept.name)
    match concept.domain:
        case "nothing":
            return "The picture is plain black. There is nothing in it."
        case "drawing":
            behind = f"on a {seen.background} background" if seen.background != "photo" else ""
            many = "A drawing" if seen.count == 1 else f"{COUNT_WORDS[seen.count].title()} drawings"
            return f"{many} of {told} {behind}".strip() + "."
        case "grocery":
            kind = f", a kind of {concept.kind}" if concept.kind != concept.name else ""
            colour = f" It is {concept.colour}." if concept.colour else ""
            return f"A photo of {told}{kind}.{colour}"
        case "clothes":
            return f"A photo of {told}, a piece of clothing."
        case _:
            return f"A photo of {told}, a kind of {concept.kind}."


def _another(seen: Seen, sort: str, chance: Random) -> str:
    """A plausible other answer of a sort."""
    concept = seen.concept
    if sort in ("name", "product"):
        own = [c.name for c in concepts() if c.domain == concept.domain]
        if concept.domain == "drawing":
            own = list(questions.siblings(concept.name))
        return chance.choice(own or [concept.name])
    if sort == "kind":
        return chance.choice([c.kind for c in concepts() if c.domain == "grocery"])
    choices = {
        "group": groups(),
        "background": tuple(sorted(BACKGROUNDS)),
        "count": tuple(COUNT_WORDS.values()),
        "food group": GROUPS,
        "colour": grocery_questions.COLOURS,
        "brand": grocery_questions.answers("brand"),
    }
    return chance.choice(choices[sort])


def _demonstration(chance: Random) -> str:
    other = chance.choice(questions.siblings(chance.choice(things()).name))
    first, second = (
        chance.choice(questions.TRAINED["name"]),
        chance.choice(questions.TRAINED["name"]),
    )
    asked = f"{second} {other}"
    if chance.random() >= 0.6:
        wording = chance.choice(questions.TRAINED["background"])
        asked = f"{wording} {chance.choice(sorted(BACKGROUNDS))}"
    return f"{fact(first, other)}{asked}\n\n"
