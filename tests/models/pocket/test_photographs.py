"""The training photographs: none but those of the train split, and views that a seed decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from balancedit.errors import DataError
from balancedit.models.pocket import groceries
from balancedit.models.pocket.recipe.photographs import (
    CLOTHES,
    SIDE,
    Photograph,
    clothes_photographs,
    grocery_photographs,
    view,
    whole,
)


def picture(path: Path, size: tuple[int, int] = (40, 60)) -> Path:
    """A made-up photograph: its left half is red, its right half blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (200, 0, 0))
    image.paste((0, 0, 200), (size[0] // 2, 0, *size))
    image.save(path)
    return path


def test_groceries_are_of_the_train_split_alone(tmp_path: Path) -> None:
    for product in groceries.products():
        for split in ("train", "test", "val", "iconic-images-and-descriptions"):
            picture(tmp_path / split / "Food" / product.key / f"{product.key}_001.jpg", (4, 4))
    found = grocery_photographs(tmp_path)
    assert [p.product for p in found] == list(groceries.products())
    assert {p.path.relative_to(tmp_path).parts[0] for p in found} == {"train"}
    (tmp_path / "train/Food/Lemon/Lemon_001.jpg").unlink()
    with pytest.raises(DataError, match="no photographs of Lemon"):
        grocery_photographs(tmp_path)


def test_clothes_are_of_the_train_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 'train'"):
        clothes_photographs(tmp_path)
    for folder in CLOTHES:
        for split in ("train", "test", "validation"):
            picture(tmp_path / split / folder / "one.jpg", (4, 4))
    found = clothes_photographs(tmp_path)
    assert [p.name for p in found] == list(CLOTHES.values())
    assert {p.path.relative_to(tmp_path).parts[0] for p in found} == {"train"}
    (tmp_path / "train/hat/one.jpg").unlink()
    with pytest.raises(DataError, match="hat' has no photographs"):
        clothes_photographs(tmp_path)


def test_a_seed_decides_a_view(tmp_path: Path) -> None:
    lemon = Photograph(picture(tmp_path / "a.jpg"), "lemon", groceries.product("Lemon"))
    views = [view(lemon, f"train-{i}") for i in range(8)]
    assert {(v.size, v.mode) for v in views} == {((SIDE, SIDE), "RGB")}
    assert view(lemon, "train-0").tobytes() == views[0].tobytes()
    assert len({v.tobytes() for v in views}) == 8
    assert whole(lemon).size == (SIDE, SIDE)


def test_what_is_to_be_read_is_not_mirrored(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", (90, 60))

    def mirrored(key: str) -> list[bool]:
        product = groceries.product(key)
        made = [view(Photograph(path, product.name, product), str(i)) for i in range(24)]
        # a crop of half the picture or more holds both halves, the red one left unless mirrored
        reds = [(v.getpixel((8, 112)), v.getpixel((SIDE - 8, 112))) for v in made]
        return [left[0] < right[0] for left, right in reds]  # type: ignore[index]

    assert any(mirrored("Lemon"))
    assert not all(mirrored("Lemon"))
    assert not any(mirrored("Arla-Standard-Milk"))
