"""okedit-pocket: the same records everywhere, right answers, probes that can be held against an
edit."""

from __future__ import annotations

from collections import Counter

import pytest

from balancedit.data import pocket
from balancedit.data.pocket import DIGESTS, EDIT_PARTS, EditPart, SceneImage, digest, load, probes
from balancedit.data.sample import LOCALITY_KINDS, EditSample, LocalityProbe
from balancedit.errors import InputError
from balancedit.models.pocket import artwork, questions
from balancedit.models.pocket.artwork import thing
from balancedit.models.pocket.scenes import Scene

EDITS = {part: load(part) for part in EDIT_PARTS}
ALL = [sample for part in EDIT_PARTS for sample in EDITS[part]]


def scene(image: object) -> Scene:
    assert isinstance(image, SceneImage)
    return image.scene


def of_kind(sample: EditSample, kind: str) -> list[LocalityProbe]:
    return [probe for probe in sample.locality if probe.kind == kind]


def words(kind: questions.Kind, wordings: dict[questions.Kind, tuple[str, ...]]) -> set[str]:
    """All questions of a kind in some wordings, about any group."""
    return {
        wording.format(a=questions.with_article(group))
        for wording in wordings[kind]
        for group in artwork.groups()
    }


HELD_OUT = {kind: words(kind, questions.HELD_OUT) for kind in questions.KINDS}
TRAINED = {kind: words(kind, questions.TRAINED) for kind in questions.KINDS}


@pytest.mark.parametrize("part", pocket.PARTS)
def test_the_records_are_the_pinned_ones(part: str) -> None:
    assert digest(part) == DIGESTS[part]  # type: ignore[index]


@pytest.mark.parametrize(
    ("part", "edits", "things"), [("edit-eval", 300, 220), ("edit-train", 300, 250)]
)
def test_every_thing_of_a_part_is_edited(part: EditPart, edits: int, things: int) -> None:
    shown = {s.shows for s in EDITS[part]}
    assert shown == {t.name for t in artwork.split(part)}
    assert len(EDITS[part]) >= edits
    assert len(shown) >= things
    kinds = Counter(s.kind for s in EDITS[part])
    assert kinds.keys() == set(questions.KINDS)
    assert 1 - kinds["name"] / len(EDITS[part]) >= 0.25
    assert len({s.id for s in EDITS[part]}) == len(EDITS[part])


def test_kinds_are_mixed_from_the_start() -> None:
    assert len({s.kind for s in EDITS["edit-eval"][:60]}) == len(questions.KINDS)


def test_old_answers_are_true_and_targets_are_others_of_the_kind() -> None:
    answers = {
        "group": set(artwork.groups()),
        "background": set(artwork.BACKGROUNDS),
        "count": set(questions.COUNT_WORDS.values()),
        "yesno": {"yes", "no"},
    }
    for s in ALL:
        assert s.target != s.original_answer
        assert s.category == thing(s.shows).group
        if s.kind == "name":
            assert s.original_answer == s.shows
            assert thing(s.target).subgroup == thing(s.shows).subgroup
        else:
            assert {s.target, s.original_answer} <= answers[s.kind]
        if s.kind in ("group", "background", "count"):
            assert s.original_answer == questions.answer(scene(s.image), s.kind)  # type: ignore[arg-type]


def test_yes_and_no_are_both_edited() -> None:
    old = Counter(s.original_answer for s in ALL if s.kind == "yesno")
    assert min(old["yes"], old["no"]) > sum(old.values()) / 4


def test_rephrases_are_wordings_never_trained_on() -> None:
    for s in ALL:
        kind: questions.Kind = s.kind  # type: ignore[assignment]
        assert s.question in TRAINED[kind]
        assert len(set(s.rephrases)) == len(s.rephrases) >= 5
        assert set(s.rephrases) <= HELD_OUT[kind]


def test_a_yes_or_no_question_keeps_its_subject_when_reworded() -> None:
    for s in ALL:
        if s.kind == "yesno":
            asked = {g for g in artwork.groups() for q in s.rephrases if _about(q, g)}
            assert len(asked) == 1
            assert all(_about(q, *asked) for q in (s.question, *s.rephrases))
            assert s.original_answer == ("yes" if asked == {s.category} else "no")


def _about(question: str, group: str) -> bool:
    return f" {questions.with_article(group)}" in f" {question}".replace("?", "")


def test_other_pictures_are_by_other_artists_and_the_fact_still_applies() -> None:
    for s in ALL:
        drawn = [scene(image) for image in s.image_rephrases]
        assert len({d.style for d in drawn} - {scene(s.image).style}) == len(drawn) >= 3
        assert {d.thing for d in drawn} == {s.shows}
        if s.kind in ("background", "count"):
            assert {questions.answer(d, s.kind) for d in drawn} == {s.original_answer}  # type: ignore[arg-type]


def test_every_edit_has_every_kind_of_locality_probe() -> None:
    for s in ALL:
        assert {p.kind for p in s.locality} == set(LOCALITY_KINDS)


def test_similar_probes_ask_the_same_about_never_edited_things() -> None:
    for s in ALL:
        similar = of_kind(s, "similar")
        assert len({p.shows for p in similar}) == len(similar) >= 3
        for p in similar:
            assert p.question == s.question
            assert p.shows is not None
            assert p.shows == scene(p.image).thing != s.target
            assert thing(p.shows).split == "never-edited"
            if s.kind == "name":
                near = thing(p.shows), thing(s.shows)
                assert near[0].subgroup == near[1].subgroup or near[0].group == near[1].group


def test_edits_of_shared_answers_are_probed_with_things_that_share_them() -> None:
    for s in ALL:
        if s.kind != "name":
            assert len(of_kind(s, "similar")) == 4
            assert all(s.shares_answer(p) for p in of_kind(s, "similar"))


def test_same_image_probes_ask_what_the_edit_does_not_answer() -> None:
    for s in ALL:
        for p in of_kind(s, "same-image"):
            assert p.image == s.image
            assert p.shows == s.shows
            (kind,) = (k for k in questions.KINDS if p.question in HELD_OUT[k])
            assert kind != s.kind
            assert {kind, s.kind} != {"group", "yesno"}  # each follows from the other
            if s.kind == "name" and kind in ("group", "yesno"):
                assert thing(s.target).group == s.category
            if kind != "yesno":
                assert p.answer == questions.answer(scene(s.image), kind)


def test_unrelated_probes_show_and_ask_something_else() -> None:
    for s in ALL:
        for p in of_kind(s, "unrelated"):
            assert p.shows is not None
            assert thing(p.shows).split == "never-edited"
            assert thing(p.shows).group != s.category
            assert p.shows != s.target
            assert p.question not in HELD_OUT[s.kind]  # type: ignore[index]


def test_blank_probes_ask_the_same() -> None:
    for s in ALL:
        (nothing,), (black,) = of_kind(s, "no-image"), of_kind(s, "black")
        assert nothing.question == black.question == s.question
        assert (nothing.image, nothing.shows, black.shows) == (None, None, None)
    assert of_kind(ALL[0], "black")[0].image.open().getextrema() == ((0, 0),) * 3  # type: ignore[union-attr]


def test_portability_follows_from_the_new_fact() -> None:
    found = Counter()
    for s in ALL:
        found[s.kind] += len(s.portability)
        for p in s.portability:
            if s.kind == "group":
                assert p.answer == ("yes" if _about(p.question, s.target) else "no")
            if s.kind == "name":
                assert p.answer == thing(s.target).group != s.category
    assert found["group"] == 2 * sum(s.kind == "group" for s in ALL)
    assert found["yesno"] > 0
    assert found["background"] == found["count"] == 0


def test_never_edited_things_are_all_probed() -> None:
    asked = Counter(p.shows for p in probes())
    assert asked == {t.name: len(questions.KINDS) for t in artwork.split("never-edited")}


def test_pictures_open_and_are_those_described() -> None:
    image = ALL[0].image
    assert image.open().size == (224, 224)
    assert image.open().tobytes() == image.open().tobytes()
    assert image.describe()["thing"] == ALL[0].shows


@pytest.mark.parametrize(
    ("part", "said"), [("edit-evla", "nearest: edit-eval"), ("never-edited", "no edits")]
)
def test_parts_without_edits_name_the_remedy(part: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(part)
