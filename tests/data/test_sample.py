"""The record: pictures that open late, and a digest of everything in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from balancedit.data.sample import (
    EditSample,
    FileImage,
    LocalityProbe,
    PortabilityProbe,
    digest,
)
from balancedit.errors import ImageError

IMAGE = FileImage(Path("somewhere"), "folder/a.png")
SAMPLE = EditSample(
    id="one",
    image=IMAGE,
    question="What brand is this?",
    target="lenovo",
    original_answer="hp",
    rephrases=("Which brand?",),
    image_rephrases=(IMAGE,),
    locality=(
        LocalityProbe("similar", IMAGE, "What brand is this?", "dell", "a dell"),
        LocalityProbe("no-image", None, "What brand is this?", None),
    ),
    portability=(PortabilityProbe(None, "Where is it made?", "china"),),
    category="brands",
    kind="brand",
    shows="an hp",
)


def test_a_file_opens_when_it_is_looked_at(tmp_path: Path) -> None:
    image = FileImage(tmp_path, "a.png")
    with pytest.raises(ImageError, match=r"a\.png"):
        image.open()
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.png")
    assert image.open().size == (4, 3)


def test_the_digest_does_not_depend_on_where_the_files_lie() -> None:
    moved = replace(SAMPLE, image=FileImage(Path("elsewhere"), "folder/a.png"))
    assert digest([SAMPLE], "v1") == digest([moved], "v1")


@pytest.mark.parametrize(
    "change",
    [
        {"target": "dell"},
        {"image": FileImage(Path("somewhere"), "folder/b.png")},
        {"rephrases": ()},
        {"locality": SAMPLE.locality[:1]},
        {"locality": (replace(SAMPLE.locality[0], shows="an acer"), SAMPLE.locality[1])},
        {"portability": ()},
    ],
)
def test_the_digest_depends_on_everything_else(change: dict) -> None:
    assert digest([replace(SAMPLE, **change)], "v1") != digest([SAMPLE], "v1")


def test_the_digest_depends_on_the_order_and_the_source() -> None:
    other = replace(SAMPLE, id="two")
    assert digest([SAMPLE, other], "v1") != digest([other, SAMPLE], "v1")
    assert digest([SAMPLE], "v1") != digest([SAMPLE], "v2")


def test_probes_that_share_the_old_answer() -> None:
    similar, blank = SAMPLE.locality
    assert not SAMPLE.shares_answer(similar)
    assert not SAMPLE.shares_answer(blank)
    assert SAMPLE.shares_answer(replace(similar, answer="hp"))
