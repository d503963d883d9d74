"""`okedit-pocket`: edits of what the default model knows about drawn things.

Built from the artwork by fixed seeds, so that it is the same everywhere; `DIGESTS` pins that. The
things come in three disjoint parts: figures are reported on *edit-eval*, training and settings use
*edit-train*, and the pictures that no edit may change show *never-edited* things alone. Opening a
picture needs the extra `artwork`; reading the records does not. docs/data.md tells the rules.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count
from random import Random
from typing import Any, Literal, get_args

from PIL import Image

from balancedit.data import sample as records
from balancedit.data.sample import EditSample, LocalityProbe, PortabilityProbe
from balancedit.errors import InputError, nearest_names
from balancedit.models.pocket import artwork, scenes
from balancedit.models.pocket.artwork import STYLES, Thing
from balancedit.models.pocket.questions import (
    HELD_OUT,
    KINDS,
    TRAINED,
    Kind,
    answer,
    any_answer,
    ask,
    groups,
    siblings,
    with_article,
)
from balancedit.models.pocket.scenes import Scene

NAME = "okedit-pocket"
EditPart = Literal["edit-eval", "edit-train"]
EDIT_PARTS: tuple[EditPart, ...] = get_args(EditPart)
PARTS: tuple[artwork.Split, ...] = get_args(artwork.Split)

#: Edits of something other than the name, in equal shares of the four other kinds.
OTHER_EDITS: dict[EditPart, int] = {"edit-eval": 120, "edit-train": 132}
REPHRASES = 5
UNRELATED = 3

#: `digest` of each part. They change with the artwork, the wordings and the rules below, and then
#: figures taken before and after cannot be compared.
DIGESTS: dict[artwork.Split, str] = {
    "edit-eval": "0423e7982873704996baea063c4cca4774bda8447bdc4fc0dcf4a9d6ac18ac66",
    "edit-train": "ee8519a167f9320b31dddd70bd358a92e060bda92c157c6048b757bcb000a73a",
    "never-edited": "93ed5efe09c72c9f869887402edf207c988a98035d08018831d0d7621f740037",
}

# A scene alone decides these answers; the others follow from the thing.
_OF_THE_SCENE = ("background", "count")


@dataclass(frozen=True)
class SceneImage:
    """A picture that is rendered when it is opened."""

    scene: Scene

    def open(self) -> Image.Image:
        """The picture, 224 pixels wide and high. Raises `ArtworkError` without `resvg_py`."""
        return self.scene.render()

    def describe(self) -> dict[str, Any]:
        """The scene, which decides every pixel."""
        return asdict(self.scene)


def load(part: str) -> list[EditSample]:
    """The edits of a part, names and other answers mixed, always in the same order.

    Raises `InputError` for *never-edited*, which has probes only, and for unknown parts.
    """
    if part == "never-edited":
        raise InputError(
            f"the part 'never-edited' of {NAME} holds no edits, only things to probe; "
            f"give {' or '.join(EDIT_PARTS)}"
        )
    if part not in EDIT_PARTS:
        raise InputError(f"{NAME} has no part '{part}'{nearest_names(part, EDIT_PARTS)}")
    return [_edit(thing, kind, part) for thing, kind in _plan(part)]


def probes() -> list[LocalityProbe]:
    """Every kind of question about one picture of each *never-edited* thing, in wordings never
    trained on: what a run asks to see what its edits took over anywhere."""
    questions = []
    for thing in artwork.split("never-edited"):
        chance = Random(f"{NAME}/never-edited/{thing.name}")
        scene = scenes.sample(thing.name, chance.choice(STYLES), f"{NAME}/never-edited")
        questions += [
            _probe("unrelated", scene, *ask(scene, kind, chance, HELD_OUT)) for kind in KINDS
        ]
    return questions


def digest(part: str) -> str:
    """SHA-256 over all records of a part and the drawings' checksum. Raises `InputError`."""
    samples = probes() if part == "never-edited" else load(part)
    return records.digest(samples, source=artwork.EXTRACT_SHA256)


def _plan(part: EditPart) -> list[tuple[Thing, Kind]]:
    """Which answer of which thing is edited: every thing's name, and other answers of some.

    A thing that is alone in its subgroup has no name to take over: another answer is edited.
    """
    chance = Random(f"{NAME}/{part}")
    alone = [t for t in artwork.split(part) if len(siblings(t.name)) == 1]
    named = [t for t in artwork.split(part) if t not in alone]
    others = alone + chance.sample(named, OTHER_EDITS[part] - len(alone))
    plan: list[tuple[Thing, Kind]] = [(thing, "name") for thing in named]
    plan += [(thing, KINDS[1 + i % (len(KINDS) - 1)]) for i, thing in enumerate(others)]
    chance.shuffle(plan)
    return plan


def _edit(thing: Thing, kind: Kind, part: EditPart) -> EditSample:
    name = f"{part}/{kind}/{thing.name}"
    seed = f"{NAME}/{name}"
    chance = Random(seed)
    asked = thing.group  # what a yes-or-no question is about
    if chance.random() < 0.5:
        asked = chance.choice([g for g in groups() if g != thing.group])
    style = chance.choice(STYLES)
    scene = scenes.sample(thing.name, style, f"{seed}/edited")
    old = answer(scene, kind, asked)
    target = _target(scene, kind, old, chance)
    question, *rephrases = (
        wording.format(a=with_article(asked))
        for wording in (chance.choice(TRAINED[kind]), *chance.sample(HELD_OUT[kind], REPHRASES))
    )
    redrawn = (
        _scene(thing, other, f"{seed}/redrawn", kind, old) for other in STYLES if other != style
    )
    black = scenes.black()
    return EditSample(
        id=name,
        image=SceneImage(scene),
        question=question,
        target=target,
        original_answer=old,
        rephrases=tuple(rephrases),
        image_rephrases=tuple(SceneImage(other) for other in redrawn),
        locality=(
            *(
                _probe("similar", other, question, answer(other, kind, asked))
                for other in _similar(thing, kind, asked, old, target, chance, seed)
            ),
            *(
                _probe("same-image", scene, *ask(scene, other, chance, HELD_OUT))
                for other in KINDS
                if other not in (kind, *_affected(thing, kind, target))
            ),
            *_unrelated(thing, kind, target, chance, seed),
            LocalityProbe("no-image", None, question, None),
            _probe("black", black, question, answer(black, kind, asked)),
        ),
        portability=_portability(scene, kind, asked, target, chance),
        category=thing.group,
        kind=kind,
        shows=thing.name,
    )


def _target(scene: Scene, kind: Kind, old: str, chance: Random) -> str:
    """Another answer of the same kind. For a name: a thing of the same Unicode subgroup; where
    there is a choice, one of the same group and not among the things that serve as probes."""
    if kind != "name":
        while (new := any_answer(kind, scene, chance)) == old:
            pass
        return new
    others = [artwork.thing(s) for s in siblings(scene.thing) if s != scene.thing]
    alike = [t for t in others if t.group == artwork.thing(scene.thing).group]
    edited = [t for t in alike if t.split != "never-edited"]
    return chance.choice(edited or alike or others).name


def _scene(thing: Thing, style: str, seed: str, kind: Kind, wanted: str) -> Scene:
    """A picture of a thing; about background and count, one of which `wanted` is true."""
    for attempt in count():
        scene = scenes.sample(thing.name, style, f"{seed}/{attempt}")
        if kind not in _OF_THE_SCENE or answer(scene, kind) == wanted:
            return scene
    raise AssertionError("unreachable: attempts are not counted")


def _similar(
    thing: Thing, kind: Kind, asked: str, old: str, target: str, chance: Random, seed: str
) -> list[Scene]:
    """Pictures of never-edited things to be asked the edit's question.

    For a name, three things of the subgroup, or where it has fewer, of the group. For other
    answers, two of the subgroup and two from elsewhere (more of one where the other has fewer), and
    about all of them the edit's old answer is true: what it must not mistake for its own case.
    """
    calm = [t for t in artwork.split("never-edited") if t.name != target]
    if kind == "group":
        calm = [t for t in calm if t.group == old]
    elif kind == "yesno":
        calm = [t for t in calm if (t.group == asked) == (old == "yes")]
    chance.shuffle(calm)
    near = [t for t in calm if t.subgroup == thing.subgroup]
    far = [t for t in calm if t not in near and (kind != "name" or t.group == thing.group)]
    n_near, n = (3, 3) if kind == "name" else (2, 4)
    chosen = [*near[:n_near], *far, *near[n_near:]][:n]
    return [_scene(t, chance.choice(STYLES), f"{seed}/similar", kind, old) for t in chosen]


def _unrelated(
    thing: Thing, kind: Kind, target: str, chance: Random, seed: str
) -> list[LocalityProbe]:
    """Never-edited things of other groups, with questions of other kinds."""
    far = [t for t in artwork.split("never-edited") if t.group != thing.group and t.name != target]
    others = []
    for other in chance.sample(far, UNRELATED):
        scene = scenes.sample(other.name, chance.choice(STYLES), f"{seed}/unrelated")
        asked = chance.choice([k for k in KINDS if k != kind])
        others.append(_probe("unrelated", scene, *ask(scene, asked, chance, HELD_OUT)))
    return others


def _affected(thing: Thing, kind: Kind, target: str) -> tuple[Kind, ...]:
    """The kinds of question whose answers the new fact may rightly change as well."""
    if kind == "group":
        return ("yesno",)
    if kind == "yesno":
        return ("group",)
    if kind == "name" and artwork.thing(target).group != thing.group:
        return ("group", "yesno")
    return ()


def _portability(
    scene: Scene, kind: Kind, asked: str, target: str, chance: Random
) -> tuple[PortabilityProbe, ...]:
    """What follows from the new fact about the thing's group."""
    group = artwork.thing(scene.thing).group
    facts: list[tuple[Kind, str, str]] = []  # kind of question, group asked about, answer
    if kind == "group":
        facts = [("yesno", target, "yes"), ("yesno", group, "no")]
    elif kind == "yesno" and target == "yes":
        facts = [("group", "", asked)]
    elif kind == "name" and artwork.thing(target).group != group:
        facts = [("group", "", artwork.thing(target).group)]
    return tuple(
        PortabilityProbe(
            SceneImage(scene), chance.choice(HELD_OUT[k]).format(a=with_article(about)), truth
        )
        for k, about, truth in facts
    )


def _probe(kind: records.LocalityKind, scene: Scene, question: str, truth: str) -> LocalityProbe:
    return LocalityProbe(kind, SceneImage(scene), question, truth, shows=scene.thing or None)
