"""The photographs that pocket may be trained on, and other views of them.

Groceries are of GroceryStoreDataset's `train` split, clothes of clothing-dataset-small's `train`
folder; nothing else in either directory is looked at, so that test, validation and iconic pictures
cannot be trained on by a slip. `balancedit data fetch` says where both are to be had. This module
knows nothing about models or questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from balancedit.errors import DataError
from balancedit.inputs.images import open_image
from balancedit.models.pocket import groceries
from balancedit.models.pocket.concepts import CLOTHES
from balancedit.models.pocket.groceries import Product

SPLIT = "train"  # the only folder that is read
SIDE = 224  # pixels


@dataclass(frozen=True)
class Photograph:
    """A photograph to train on. name: of the thing, at its finest level. product: None for
    clothes."""

    path: Path
    name: str
    product: Product | None = None

    def open(self) -> Image.Image:
        """The picture as taken, upright and RGB. Raises `ImageError`."""
        return open_image(self.path)


def grocery_photographs(dataset: Path) -> list[Photograph]:
    """The training photographs of groceries. dataset: the folder that holds `train`. Raises
    `DataError` where the folder, or a product's photographs, are missing."""
    found = []
    root = _training_folder(dataset)
    for product in groceries.products():
        paths = sorted(root.glob(f"*/**/{product.key}_*.jpg"))
        if not paths:
            raise DataError(f"'{root}' has no photographs of {product.key}; fetch the data again")
        found += [Photograph(path, product.name, product) for path in paths]
    return found


def clothes_photographs(directory: Path) -> list[Photograph]:
    """The training photographs of clothes. directory: the folder that holds `train`. Raises
    `DataError` where the folder, or a class's photographs, are missing."""
    found = []
    root = _training_folder(directory)
    for folder, name in CLOTHES.items():
        paths = sorted((root / folder).glob("*.jpg"))
        if not paths:
            raise DataError(f"'{root / folder}' has no photographs; fetch the data again")
        found += [Photograph(path, name) for path in paths]
    return found


def _training_folder(directory: Path) -> Path:
    root = directory / SPLIT
    if not root.is_dir():
        raise DataError(f"there is no folder '{root}'; give the one that holds '{SPLIT}'")
    return root


def view(photograph: Photograph, seed: str) -> Image.Image:
    """Another view of a photograph, SIDE pixels wide and high: a crop of half the picture or more,
    turned by up to 12 degrees, in another light, sometimes blurred; mirrored half the time where
    nothing on it is to be read. The seed in words decides all of it."""
    chance = Random(f"{photograph.name}/{photograph.path.name}/{seed}")
    image = photograph.open()
    image = image.rotate(chance.uniform(-12, 12), Image.Resampling.BILINEAR, fillcolor=_mean(image))
    image = _cropped(image, chance)
    for enhance, spread in (
        (ImageEnhance.Brightness, 0.35),
        (ImageEnhance.Contrast, 0.3),
        (ImageEnhance.Color, 0.3),
    ):
        image = enhance(image).enhance(chance.uniform(1 - spread, 1 + spread))
    if chance.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 1.5)))
    legible = photograph.product is not None and bool(photograph.product.brand)
    return ImageOps.mirror(image) if chance.random() < 0.5 and not legible else image


def whole(photograph: Photograph) -> Image.Image:
    """The photograph's middle square, as evaluation pictures are cut."""
    return ImageOps.fit(photograph.open(), (SIDE, SIDE), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, chance: Random) -> Image.Image:
    """A crop of at least half the picture's area, its sides in a ratio of at most 4 to 3."""
    width, height = image.size
    share, ratio = chance.uniform(0.5, 1.0), chance.uniform(3 / 4, 4 / 3)
    across = min(width, round((share * width * height * ratio) ** 0.5))
    down = min(height, round((share * width * height / ratio) ** 0.5))
    left, top = chance.randint(0, width - across), chance.randint(0, height - down)
    box = (left, top, left + across, top + down)
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)


def _mean(image: Image.Image) -> tuple[int, int, int]:
    """The mean colour, which fills what a turn leaves empty."""
    pixel = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]
