"""okedit-photos: the same records everywhere, true answers, reach by level, nothing of the splits
that are not to be used, and a pack that is refused where it is damaged."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from balancedit.bench.protocols import probes, scores
from balancedit.bench.runner import changed_by_others
from balancedit.data import catalogue, check, photo_pack, photos, photos_build
from balancedit.data.photo_pack import PackedPhoto
from balancedit.data.photos import DIGESTS, EDIT_PARTS, PARTS, PLAIN, digest, load
from balancedit.data.sample import EditSample, LocalityProbe, images
from balancedit.errors import DataError, InputError
from balancedit.models.pocket import groceries
from balancedit.models.pocket.groceries import Product
from balancedit.models.pocket.grocery_questions import HELD_OUT, LEVELS, SHORT, TRAINED, answers

EDITS = {part: load(part) for part in PARTS}
ALL = [sample for part in PARTS for sample in EDITS[part]]
SHORT_ONES = [sample for part in EDIT_PARTS for sample in EDITS[part]]
BY_NAME = {p.name: p for p in groceries.products()}


def shown(image: object) -> Product:
    assert isinstance(image, PackedPhoto)
    return groceries.product(PurePosixPath(image.name).parent.name)


def of_kind(sample: EditSample, kind: str) -> list[LocalityProbe]:
    return [probe for probe in sample.locality if probe.kind == kind]


def level(product: Product, name: str) -> str:
    return {"product": product.name, "kind": product.kind, "group": product.group}[name]


def group_of(name: str) -> str:
    if name in groceries.GROUPS:
        return name
    return next(p.group for p in groceries.products() if name in (p.name, p.kind))


@pytest.mark.parametrize("part", PARTS)
def test_the_records_are_the_pinned_ones(part: str) -> None:
    assert digest(part) == DIGESTS[part]


def test_the_parts_hold_enough_and_share_no_product() -> None:
    edited = {part: {s.shows for s in EDITS[part]} for part in EDIT_PARTS}
    assert sum(len(EDITS[part]) for part in EDIT_PARTS) >= 240
    assert len(edited["edit-eval"] | edited["edit-train"]) >= 60
    assert not edited["edit-eval"] & edited["edit-train"]
    calm = {p.name for p in groceries.products() if p.split == "never-edited"}
    assert not calm & (edited["edit-eval"] | edited["edit-train"])
    kinds = Counter(s.kind for s in SHORT_ONES)
    assert {*LEVELS} <= kinds.keys()
    assert sum(n for kind, n in kinds.items() if kind not in LEVELS) >= len(SHORT_ONES) / 5
    assert len({s.id for s in ALL}) == len(ALL)


def test_a_kind_is_edited_in_one_part_alone() -> None:
    parts = {(p.kind, p.split) for p in groceries.products() if p.split != "never-edited"}
    assert len(parts) == len({kind for kind, _ in parts})


def test_evaluation_shows_the_test_split_and_training_the_train_split() -> None:
    wanted = {"edit-eval": "test", "edit-train": "train"}
    for part in EDIT_PARTS:
        names = {i.name for s in EDITS[part] for i in images(s) if isinstance(i, PackedPhoto)}
        assert {PurePosixPath(name).parts[0] for name in names} == {wanted[part]}
        assert names <= photo_pack.selected().keys()
    # neither the validation split nor the iconic pictures
    assert {PurePosixPath(n).parts[0] for n in photo_pack.selected()} == {"train", "test"}


def test_every_edit_has_its_rewordings_and_photographs_that_its_level_must_reach() -> None:
    for s in ALL:
        assert len(set(s.rephrases)) == len(s.rephrases) >= 5
        assert len(set(s.image_rephrases)) == len(s.image_rephrases) >= 4
        assert s.image not in s.image_rephrases
        own = BY_NAME[s.shows]
        assert shown(s.image) == own
        at = s.kind if s.kind in LEVELS else "product"
        reached = [shown(image) for image in s.image_rephrases]
        assert {level(p, at) for p in reached} == {level(own, at)}
        others = {p for p in reached if p != own}
        part = "edit-eval" if s.id.startswith("edit-eval") else "edit-train"
        assert {p.split for p in others} <= {part, "never-edited"}
        if at == "kind" and len(groceries.of_kind(own.kind)) > 1:
            assert others
        if at == "group":
            assert {p.kind for p in others} - {own.kind} or own.group == "drink"


def test_what_an_edit_must_not_reach_is_probed() -> None:
    for s in ALL:
        own, near = BY_NAME[s.shows], of_kind(s, "similar")
        assert [len(of_kind(s, k)) for k in ("no-image", "black")] == [1, 1]
        assert of_kind(s, "same-image")
        assert all(
            p.image == s.image and p.question != s.question for p in of_kind(s, "same-image")
        )
        assert len(of_kind(s, "unrelated")) == photos.UNRELATED
        assert all(shown(p.image).group != own.group for p in of_kind(s, "unrelated"))
        assert len({p.image for p in near}) == len(near) == photos.SIMILAR
        for probe in (*near, *of_kind(s, "unrelated")):
            assert shown(probe.image).split == "never-edited"
            assert shown(probe.image).name == probe.shows
        assert {p.question for p in near} == {s.question}
        if s.kind == "product":  # siblings, and other kinds
            kinds = [shown(p.image).kind == own.kind for p in near]
            assert any(kinds)
            assert not all(kinds) or own.group == "drink"
        if s.kind in LEVELS:
            assert not {level(shown(p.image), s.kind) for p in near} & {
                level(own, s.kind),
                s.target,
            }
        else:
            shared = [s.shares_answer(p) for p in near]
            assert all(shared) or (s.kind in ("brand", "colour") and not any(shared))


def test_no_probe_asks_what_the_new_fact_decides() -> None:
    for s in ALL:
        if s.kind not in LEVELS:
            continue
        # "orange" may be a color too, which no level decides
        asked = {p.answer for p in of_kind(s, "same-image") if "color" not in p.question}
        if group_of(s.target) != BY_NAME[s.shows].group:
            assert BY_NAME[s.shows].group not in asked
            assert "yes" not in asked  # it is about a third group
        assert s.original_answer not in asked


def test_old_answers_are_true_and_targets_are_others() -> None:
    for s in ALL:
        own = BY_NAME[s.shows]
        assert s.target != s.original_answer
        assert s.target in answers(s.kind)  # type: ignore[arg-type]
        if s.kind in LEVELS:
            assert s.original_answer == level(own, s.kind)
        assert s.category == own.group


def test_edits_of_a_kind_or_group_that_are_held_together_agree() -> None:
    for part in PARTS:
        taught: dict[tuple[str, ...], set[str]] = {}
        for s in EDITS[part]:
            if s.reaches:
                taught.setdefault(s.reaches, set()).add(s.target)
        assert taught
        assert all(len(targets) == 1 for targets in taught.values())


def test_what_follows_about_kind_and_group_is_asked() -> None:
    asked: Counter[str] = Counter()
    for s in SHORT_ONES:
        truths = [p.answer for p in s.portability]
        own = BY_NAME[s.shows]
        if s.kind in ("product", "kind") and group_of(s.target) != own.group:
            assert truths[-1] == group_of(s.target)
        if s.kind == "product" and truths:
            assert truths[0] == BY_NAME[s.target].kind != own.kind
        if s.kind == "group":
            assert truths == ["yes", "no"]
        asked[s.kind] += len(truths)
    assert all(asked[sort] >= 10 for sort in LEVELS)


def test_both_styles_ask_the_same_of_the_same_pictures() -> None:
    for part in EDIT_PARTS:
        for short, plain in zip(EDITS[part], EDITS[part + PLAIN], strict=True):
            assert (short.style, plain.style) == ("short", "plain")
            assert [*images(short)] == [*images(plain)]
            assert (short.target, short.shows) == (plain.target, plain.shows)
            for one, other in zip(_questions(short), _questions(plain), strict=True):
                assert one.startswith(f"{other} ")
                assert one.removeprefix(f"{other} ") in SHORT


def _questions(s: EditSample) -> list[str]:
    probed = [p.question for p in (*s.locality, *s.portability)]
    return [s.question, *s.rephrases, *probed]


def test_wordings_for_training_and_for_judging_share_none() -> None:
    for sort in TRAINED:
        assert not {*TRAINED[sort]} & {*HELD_OUT[sort]}
        assert len({*HELD_OUT[sort]}) >= photos.REPHRASES
    trained = {w for sort in TRAINED for w in TRAINED[sort] if "{a}" not in w}
    for s in EDITS["edit-eval-plain"]:
        assert not trained & {*s.rephrases}
        assert not trained & {p.question for p in of_kind(s, "same-image")}


def test_a_held_edit_of_a_kind_leaves_out_what_it_may_rightly_change_and_no_more() -> None:
    samples = EDITS["edit-eval"]
    apple = next(s for s in samples if s.reaches == ("kind: apple",))
    other = next(s for s in samples if s.kind == "kind" and s.shows == "lemon")
    touched = changed_by_others([apple, other], other)
    asked = [
        p
        for p in (
            LocalityProbe("similar", None, "q", "apple", "Golden Delicious", ("kind: apple",)),
            LocalityProbe("unrelated", None, "q", "Golden Delicious", "Golden Delicious"),
            LocalityProbe("same-image", None, "q", "red", apple.shows),
        )
    ]
    made = [(p.kind, p.shows not in touched and not {*p.within} & touched) for p in asked]
    assert made == [("similar", False), ("unrelated", True), ("same-image", False)]
    from balancedit.bench.protocols import Probe

    probed = [Probe(p.kind, None, "q", "", p.shows, p.within) for p in asked]
    judged = [{p.measures: 1.0} for p in probed]
    assert scores(probed, judged, touched) == {"unrelated": 1.0}


def test_unknown_parts_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="nearest: edit-eval"):
        load("edit-evil")


# -- the pack ------------------------------------------------------------------------------------


@pytest.fixture
def grocery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up data set of flat pictures under the names of two products, the list of its
    photographs, and no pack yet."""
    root = tmp_path / "grocery" / "dataset"
    listed = {}
    for i, name in enumerate(("test/Fruit/Lime/Lime_001.jpg", "train/Fruit/Lime/Lime_001.jpg")):
        path = root / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (348, 464), (40 * i, 200, 30)).save(path)
        listed[name] = photo_pack.digest(path.read_bytes())
    monkeypatch.setattr(photo_pack, "_selection", lambda: (listed, "made-up"))
    monkeypatch.setattr(photo_pack, "shipped_at", lambda: tmp_path / "none.zip")
    monkeypatch.setenv("BALANCEDIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "grocery"


def test_a_pack_is_the_same_whenever_it_is_built(grocery: Path, tmp_path: Path) -> None:
    one = photos_build.build(grocery, tmp_path / "one.zip")
    assert one == photos_build.build(grocery / "dataset", tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_packed_photographs_open_at_their_size(grocery: Path) -> None:
    with pytest.raises(DataError, match="not here; fetch them with"):
        photo_pack.require()
    assert photos_build.main([str(grocery)]) == 0
    photo_pack.require()
    for i, name in enumerate(photo_pack.selected()):
        image = PackedPhoto(name).open()
        assert (image.size, image.mode) == ((224, 224), "RGB")
        assert image.getpixel((100, 100)) == pytest.approx((40 * i, 200, 30), abs=6)
    with pytest.raises(DataError, match=r"'test/Fruit/Lime/other\.jpg'"):
        photo_pack.read("test/Fruit/Lime/other.jpg")


def test_other_originals_are_refused_and_nothing_is_written(
    grocery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (grocery / "dataset/test/Fruit/Lime/Lime_001.jpg").write_bytes(b"other")
    assert photos_build.main([str(grocery), "--out", str(tmp_path / "pack.zip")]) == 1
    assert "Lime_001.jpg' has the SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "pack.zip").exists()
    with pytest.raises(DataError, match="no folders train and test"):
        photos_build.build(grocery / "dataset" / "test", tmp_path / "pack.zip")


@pytest.mark.parametrize("damage", ["picture", "index", "selection", "cut"])
def test_a_damaged_pack_is_refused(grocery: Path, damage: str) -> None:
    photos_build.build(grocery, photo_pack.built_at())
    name = "test/Fruit/Lime/Lime_001.jpg"
    if damage == "cut":
        photo_pack.built_at().write_bytes(photo_pack.built_at().read_bytes()[:99])
    else:
        with zipfile.ZipFile(photo_pack.built_at()) as pack:
            held = {n: pack.read(n) for n in pack.namelist()}
        index = json.loads(held["index.json"])
        if damage == "picture":
            held[name] = held[name][:-1] + b"x"
        elif damage == "index":
            index["format"] = 2
        else:
            index["selection"] = "another"
        held["index.json"] = json.dumps(index).encode()
        with zipfile.ZipFile(photo_pack.built_at(), "w") as pack:
            for n, data in held.items():
                pack.writestr(n, data)
    with pytest.raises(DataError, match="photos_build"):
        photo_pack.read(name)


def test_the_list_is_chosen_by_its_rule(tmp_path: Path) -> None:
    for product in groceries.products():
        for split, n in photos_build.TAKEN[product.split].items():
            folder = tmp_path / split / "Food" / product.key
            folder.mkdir(parents=True)
            for i in range(1, n + 4):
                (folder / f"{product.key}_{i:03}.jpg").write_bytes(f"{split} {i}".encode())
    chosen = photos_build.select(tmp_path)
    names = {tuple(PurePosixPath(name).parts[::3]) for name in chosen}
    wanted = photo_pack.selected()
    assert len(chosen) == len(wanted) == len(names)
    counted = [
        Counter((PurePosixPath(n).parts[0], PurePosixPath(n).parent.name) for n in names_)
        for names_ in (chosen, wanted)
    ]
    assert counted[0] == counted[1]
    (tmp_path / "test/Food/Lemon/Lemon_001.jpg").unlink()
    next_ = photos_build.select(tmp_path)
    assert "test/Food/Lemon/Lemon_001.jpg" in chosen.keys() - next_.keys()


def test_checking_names_missing_pictures_and_no_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_pack, "shipped_at", lambda: tmp_path / "none.zip")
    monkeypatch.setenv("BALANCEDIT_CACHE", str(tmp_path))
    data = catalogue.find("okedit-photos")
    found = check.check_named(data)
    assert list(found) == list(PARTS)
    for part, checked in found.items():
        assert checked.counts.keys() == {"missing-image"}
        assert len(checked.contents.samples) == len(EDITS[part])
    with pytest.raises(DataError, match="photos_build"):
        data.load("edit-eval")
    assert len(data.read("edit-eval")) == len(EDITS["edit-eval"])


@pytest.mark.slow
@pytest.mark.skipif(
    not (photo_pack.shipped_at().is_file() or photo_pack.built_at().is_file()),
    reason="the photographs are not on this machine",
)
def test_the_photographs_of_a_real_pack_are_whole() -> None:
    found = check.check_named(catalogue.find("okedit-photos"))
    assert [checked.problems for checked in found.values()] == [[]] * len(PARTS)
    assert probes(EDITS["edit-eval"][0])[0].image is not None
