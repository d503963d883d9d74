"""The artwork: complete, split into disjoint parts, and rendered the same each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from balancedit.models.pocket import artwork, scenes
from balancedit.models.pocket.artwork import ArtworkError


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.int16)


def test_names_are_clean_and_unique() -> None:
    names = [thing.name for thing in artwork.things()]
    assert len(names) == len(set(names)) > 600
    assert all(name == name.strip().lower() and len(name) < 25 for name in names)


def test_parts_are_disjoint_and_large_enough() -> None:
    sizes = Counter(thing.split for thing in artwork.things())
    assert sum(sizes.values()) == len(artwork.things())
    assert sizes["edit-eval"] >= 220
    assert sizes["edit-train"] >= 250
    assert sizes["never-edited"] >= 120
    codepoints = {
        part: {t.codepoint for t in artwork.split(part)}
        for part in ("edit-eval", "edit-train", "never-edited")
    }
    assert not codepoints["edit-eval"] & codepoints["edit-train"]
    assert not codepoints["edit-eval"] & codepoints["never-edited"]


def test_each_evaluated_thing_has_a_sibling_that_is_never_edited() -> None:
    never = {thing.subgroup for thing in artwork.split("never-edited")}
    assert [t.name for t in artwork.split("edit-eval") if t.subgroup not in never] == []


def test_every_style_has_its_credits() -> None:
    assert set(artwork.credits()) == set(artwork.STYLES)
    licences = {style: credit["licence"] for style, credit in artwork.credits().items()}
    assert licences["openmoji"] == "CC-BY-SA-4.0"
    assert all(credit["author"] and credit["version"] for credit in artwork.credits().values())


@pytest.mark.parametrize("style", artwork.STYLES)
def test_rendering_depends_on_its_arguments_alone(style: str) -> None:
    settings = {"background": "green", "rotation": 7.0, "count": 3, "arrangement": 1}
    first = artwork.render("owl", style, **settings)
    artwork.sprite.cache_clear()
    assert first.tobytes() == artwork.render("owl", style, **settings).tobytes()
    assert first.tobytes() != artwork.render("fox", style, **settings).tobytes()
    assert first.size == (224, 224)
    assert first.mode == "RGB"


def test_styles_differ() -> None:
    made = {artwork.render("rocket", style).tobytes() for style in artwork.STYLES}
    assert len(made) == 5


def test_more_copies_cover_more_of_the_picture() -> None:
    covered = [
        int((pixels(artwork.render("apple", "noto", count=n, scale=0.8)) != 255).any(2).sum())
        for n in (2, 3, 4)
    ]
    assert covered[0] * 1.3 < covered[1] < covered[2] / 1.2


def test_the_background_is_what_was_asked_for() -> None:
    picture = artwork.render("apple", background="blue")
    assert picture.getpixel((0, 0)) == artwork.BACKGROUNDS["blue"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: artwork.render("no such thing"), "no such thing"),
        (lambda: artwork.render("owl", "cubist"), "cubist"),
        (lambda: artwork.render("owl", background="ultraviolet"), "ultraviolet"),
        (lambda: artwork.render("owl", count=5), "1 to 4"),
    ],
)
def test_what_is_unknown_is_named(call: object, said: str) -> None:
    with pytest.raises(ArtworkError, match=said):
        call()  # type: ignore[operator]


def test_a_damaged_extract_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / artwork.EXTRACT).write_bytes(b"not the artwork")
    monkeypatch.setattr(artwork, "files", lambda package: tmp_path)
    artwork._extract.cache_clear()
    try:
        with pytest.raises(ArtworkError, match="damaged"):
            artwork._extract()
    finally:
        artwork._extract.cache_clear()


def test_scenes_follow_from_their_seed() -> None:
    first = scenes.sample("owl", "noto", "a seed")
    assert first == scenes.sample("owl", "noto", "a seed")
    assert first != scenes.sample("owl", "noto", "another seed")
    assert first.render().tobytes() == first.render().tobytes()


def test_scenes_vary_what_questions_ask_about() -> None:
    made = [scenes.sample("owl", "noto", f"{n}") for n in range(300)]
    assert {scene.count for scene in made} == {1, 2, 3, 4}
    assert {scene.background for scene in made} == set(artwork.BACKGROUNDS)


def test_the_black_scene_is_black() -> None:
    assert not pixels(scenes.black().render(64)).any()
