"""Edits of things the default model knows, with probes of what they must and must not reach.

The things of the artwork come in three disjoint parts: settings are chosen on *edit-train*, figures
reported on *edit-eval*, and neighbours that must not change are taken from *never-edited*.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image

from balancedit.models.pocket import artwork, scenes
from balancedit.models.pocket.questions import HELD_OUT, KINDS, TRAINED, ask, siblings

Query = tuple[Image.Image, str]


@dataclass(frozen=True)
class Case:
    """One edit of a thing's name, and its probes by what they measure."""

    thing: str
    target: str
    image: Image.Image
    question: str
    rewordings: tuple[Query, ...]  # T-Gen: wordings never trained on
    redrawings: tuple[Query, ...]  # I-Gen: the other artists' drawings, other scenes
    neighbours: tuple[Query, ...]  # Loc: other things of the same Unicode subgroup, same question
    other_questions: tuple[Query, ...]  # same picture, every other kind of question

    def probes(self) -> dict[str, tuple[Query, ...]]:
        """All probes by metric."""
        return {
            "T-Gen": self.rewordings,
            "I-Gen": self.redrawings,
            "Loc": self.neighbours,
            "other questions": self.other_questions,
        }


def cases(part: artwork.Split, n: int, seed: str) -> list[Case]:
    """`n` edits of different things of one part; the same seed gives the same cases."""
    chance = Random(f"{seed}/{part}")
    able = [t for t in artwork.split(part) if len(siblings(t.name)) > 2]
    return [_case(thing, chance, seed) for thing in chance.sample(able, n)]


def _case(thing: artwork.Thing, chance: Random, seed: str) -> Case:
    others = [s for s in siblings(thing.name) if s != thing.name]
    target = chance.choice(others)
    style = chance.choice(artwork.STYLES)
    scene = scenes.sample(thing.name, style, f"edit-{seed}")
    image, question = scene.render(), chance.choice(TRAINED["name"])
    redrawn = [
        scenes.sample(thing.name, s, f"redraw-{seed}").render()
        for s in artwork.STYLES
        if s != style
    ]
    calm = [s for s in others if artwork.thing(s).split == "never-edited" and s != target]
    near = chance.sample(calm or others, min(3, len(calm or others)))
    beside = [
        scenes.sample(s, chance.choice(artwork.STYLES), f"near-{seed}").render() for s in near
    ]
    questions = [ask(scene, kind, chance, HELD_OUT)[0] for kind in KINDS[1:]]
    return Case(
        thing=thing.name,
        target=target,
        image=image,
        question=question,
        rewordings=tuple((image, q) for q in chance.sample(HELD_OUT["name"], 5)),
        redrawings=tuple((picture, question) for picture in redrawn),
        neighbours=tuple((picture, question) for picture in beside),
        other_questions=tuple((image, q) for q in questions),
    )
