"""Several pictures in one prompt.

What a prompt shows is one picture, or `Pictures`, or nothing; between the editor and the processor
it is handed on as one value. This module knows nothing about models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from PIL import Image

from balancedit.errors import InputError
from balancedit.inputs.images import Source, anchor, open_image, pixel_hash, thumbnail

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, init=False, eq=False)
class Pictures(Generic[T_co]):
    """The pictures of one prompt, in the order in which the model sees them.

    ``editor.ask(Pictures(before, after), "What has changed?")``. A list is something else: the
    pictures of as many prompts. Raises `InputError` where there is none.
    """

    items: tuple[T_co, ...]

    def __init__(self, *pictures: T_co) -> None:
        if not pictures:
            raise InputError("Pictures() holds none; name some, or give None to ask without one")
        object.__setattr__(self, "items", pictures)

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


#: What a caller may show in a prompt, and the same once it is open.
Shown: TypeAlias = Source | Pictures[Source]
Picture: TypeAlias = Image.Image | Pictures[Image.Image]


def open_pictures(source: Shown) -> Picture:
    """`open_image` of every picture; a single one in `Pictures` is that picture. Raises
    `ImageError`."""
    if not isinstance(source, Pictures):
        return open_image(source)
    opened = [open_image(item) for item in source]
    return opened[0] if len(opened) == 1 else Pictures(*opened)


def each(picture: Picture | None) -> tuple[Image.Image, ...]:
    """The pictures one by one."""
    if picture is None:
        return ()
    return picture.items if isinstance(picture, Pictures) else (picture,)


def anchors(name: str, like: Picture) -> Picture:
    """`images.anchor`, as many pictures as `like` has and of the same sizes."""
    made = [anchor(name, image.size) for image in each(like)]
    return made[0] if len(made) == 1 else Pictures(*made)


def picture_hash(picture: Picture) -> str:
    """`images.pixel_hash` of a single picture; of several the SHA-256, in hexadecimal, of their
    hashes one after another."""
    hashes = [pixel_hash(image) for image in each(picture)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def small_copy(picture: Picture, side: int = 96) -> bytes:
    """`images.thumbnail`; several pictures stand in a row, each at most `side` pixels a side."""
    images = [image.copy() for image in each(picture)]
    if len(images) == 1:
        return thumbnail(images[0], side)
    for image in images:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    size = sum(image.width for image in images), max(image.height for image in images)
    row = Image.new("RGB", size, "white")
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width
    return thumbnail(row, max(size))
