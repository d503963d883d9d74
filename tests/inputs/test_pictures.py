"""Several pictures as one value: opened, hashed, shrunk, and what stands against them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tiny
from balancedit import Editor, Pictures
from balancedit.errors import ImageError, InputError
from balancedit.inputs.images import pixel_hash, thumbnail
from balancedit.inputs.pairing import batches, paired
from balancedit.inputs.pictures import anchors, each, open_pictures, picture_hash, small_copy

A, B, C = tiny.picture(1), tiny.picture(2, side=40), tiny.picture(3)


@pytest.fixture
def family() -> str:
    return "llava"


def test_every_picture_is_opened(tmp_path: Path) -> None:
    A.save(tmp_path / "a.png")
    opened = open_pictures(Pictures(tmp_path / "a.png", B))
    assert [pixel_hash(image) for image in each(opened)] == [pixel_hash(A), pixel_hash(B)]
    assert picture_hash(open_pictures(Pictures(A))) == pixel_hash(A), "one is no different"
    with pytest.raises(ImageError, match=r"gone\.png"):
        open_pictures(Pictures(A, tmp_path / "gone.png"))
    with pytest.raises(ImageError, match="not a Pictures"):
        open_pictures(Pictures(A, Pictures(A, B)))  # type: ignore[arg-type]


def test_none_at_all_is_an_error_and_none_among_them_too() -> None:
    with pytest.raises(InputError, match="holds none"):
        Pictures()
    with pytest.raises(ImageError, match="NoneType"):
        open_pictures(Pictures(A, None))  # type: ignore[arg-type]


def test_they_cannot_change() -> None:
    with pytest.raises(AttributeError):
        Pictures(A, B).items = ()  # type: ignore[misc]


def test_the_hash_is_of_their_hashes_in_order() -> None:
    said = hashlib.sha256((pixel_hash(A) + pixel_hash(B)).encode()).hexdigest()
    assert picture_hash(Pictures(A, B)) == said != picture_hash(Pictures(B, A))
    assert picture_hash(A) == pixel_hash(A)


def test_a_small_copy_shows_all_of_them_in_a_row() -> None:
    big = tiny.picture(4, side=200)
    row = Image.open(io.BytesIO(small_copy(Pictures(big, B))))
    assert row.size == (96 + 40, 96)
    assert small_copy(A) == thumbnail(A)
    assert big.size == (200, 200), "the picture itself is left as it was"


def test_anchors_have_number_and_sizes() -> None:
    made = each(anchors("black", Pictures(A, B)))
    assert [image.size for image in made] == [A.size, B.size]
    assert {image.getextrema() for image in made} == {((0, 0),) * 3}
    assert isinstance(anchors("white", A), Image.Image)


def test_they_are_one_row_and_a_list_is_many() -> None:
    both = Pictures(A, B)
    assert paired(both, "q") == (True, [(both, "q")])
    assert paired(both, ["q", "r"]) == (False, [(both, "q"), (both, "r")])
    assert paired([both, A], "q") == (False, [(both, "q"), (A, "q")])


def test_rows_with_as_many_pictures_go_together() -> None:
    rows = [A, None, Pictures(A, B), B, Pictures(B, C), Pictures(A, B, C), C]
    assert list(batches(rows, 2)) == [[5], [2, 4], [0, 3], [6], [1]]


def test_everything_an_editor_does_takes_them(make_editor: Any) -> None:
    editor: Editor = make_editor(key="mean")
    both = Pictures(A, B)
    edit = editor.edit(both, "what?", "ab", rephrasings=["what is it?"])
    assert edit.image_sha256 == picture_hash(both)
    assert edit.negative == "black"
    assert editor.ask(both, "what?").text == "ab"
    assert [a.text for a in editor.ask(both, ["what?", "what?"])] == ["ab", "ab"]
    assert editor.explain(both, "what?").answer.fired == edit.id
    (forced,) = editor.force([both], ["what?"], ["ab"])
    assert tuple(t for (t,) in forced.top) == forced.ids
    alone = editor.force([A, both, None], ["what?"] * 3, ["ab"] * 3)
    assert alone[1] == forced
    inputs = editor.inputs([both, Pictures(B, C)], ["what?", "and what?"])
    assert inputs["pixel_values"].shape[0] == 4
    with pytest.raises(InputError, match="1 and 2 pictures"):
        editor.inputs([A, both], ["what?", "what?"])
    thumbnail_of = Image.open(io.BytesIO(editor._store.thumbnail(edit.id) or b""))
    assert thumbnail_of.size == (A.width + B.width, B.height)
