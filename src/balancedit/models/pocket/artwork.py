"""The drawings that the pocket model knows: 643 things, each drawn by five hands.

The drawings ship in the package as one compressed extract (made by `recipe/artwork_build.py`);
this module reads the extract and turns a drawing into a picture.  It knows nothing about
models or questions.  Rendering needs `resvg_py` (the extra `artwork`); reading names does not.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from PIL import Image, ImageOps

from balancedit.errors import BalanceditError

STYLES = ("noto", "twemoji", "openmoji", "fluent-flat", "fluent")
Split = Literal["edit-eval", "edit-train", "never-edited"]

EXTRACT = "artwork.json.xz"
EXTRACT_SHA256 = "35ec81d3023416eed6795113f87e579a8d757d17ea55e680b7e735c54164a283"

# Names of background colours and the RGB value they are drawn with.
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (214, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 220, 50),
    "green": (50, 160, 70),
    "blue": (40, 90, 210),
    "purple": (125, 50, 165),
    "pink": (250, 160, 195),
    "brown": (120, 75, 40),
}

# Centres (in picture widths) where one to four copies of a thing are put; several arrangements.
ARRANGEMENTS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    1: (((0.5, 0.5),),),
    2: (
        ((0.26, 0.5), (0.74, 0.5)),
        ((0.5, 0.26), (0.5, 0.74)),
        ((0.27, 0.27), (0.73, 0.73)),
        ((0.73, 0.27), (0.27, 0.73)),
    ),
    3: (
        ((0.5, 0.27), (0.26, 0.74), (0.74, 0.74)),
        ((0.26, 0.27), (0.74, 0.27), (0.5, 0.74)),
        ((0.26, 0.26), (0.74, 0.26), (0.26, 0.74)),
        ((0.74, 0.26), (0.26, 0.74), (0.74, 0.74)),
    ),
    4: (((0.26, 0.26), (0.74, 0.26), (0.26, 0.74), (0.74, 0.74)),),
}
SPRITE_SIDE = 256  # pixels; every drawing is rendered once at this size, then placed
SEVERAL_SCALE = 0.52  # size of one of several copies relative to a single one


class ArtworkError(BalanceditError):
    """The artwork cannot be read or rendered."""


@dataclass(frozen=True)
class Thing:
    """One thing with its everyday name; `codepoint` identifies it in Unicode."""

    name: str
    group: str  # the model's answer to "what kind of thing is this?"
    subgroup: str  # Unicode's finer class; edits replace a name by another of the same subgroup
    codepoint: str
    split: Split


@lru_cache(maxsize=1)
def _extract() -> dict:
    try:
        packed = (files(__package__) / "assets" / EXTRACT).read_bytes()
    except OSError as error:
        raise ArtworkError(f"the artwork file {EXTRACT} is missing from the package") from error
    if hashlib.sha256(packed).hexdigest() != EXTRACT_SHA256:
        raise ArtworkError(f"{EXTRACT} is damaged (checksum differs): reinstall balancedit")
    return json.loads(lzma.decompress(packed))


@lru_cache(maxsize=1)
def things() -> tuple[Thing, ...]:
    """All things, in the fixed order of the extract (Unicode order)."""
    keys = ("name", "group", "subgroup", "codepoint", "split")
    return tuple(Thing(**{key: row[key] for key in keys}) for row in _extract()["things"])


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {thing.name: number for number, thing in enumerate(things())}


def thing(name: str) -> Thing:
    """The thing called `name`.  Raises ArtworkError if there is none."""
    if name not in _numbers():
        raise ArtworkError(f"no thing is called {name!r}; see balancedit.models.pocket.artwork")
    return things()[_numbers()[name]]


def groups() -> tuple[str, ...]:
    """The classes that things fall into, alphabetically."""
    return tuple(sorted({item.group for item in things()}))


def split(part: Split) -> tuple[Thing, ...]:
    """The things of one of the three disjoint parts."""
    return tuple(item for item in things() if item.split == part)


def credits() -> dict[str, dict[str, str]]:
    """Style -> package, version, licence, author and address of its artwork."""
    return _extract()["styles"]


@lru_cache(maxsize=256)
def sprite(name: str, style: str) -> Image.Image:
    """The drawing alone, SPRITE_SIDE pixels wide and high, transparent around (RGBA)."""
    try:
        import resvg_py
    except ImportError as error:
        raise ArtworkError(
            "rendering artwork needs resvg_py: pip install 'balancedit[artwork]'"
        ) from error
    if style not in STYLES:
        raise ArtworkError(f"no style is called {style!r}; there are {', '.join(STYLES)}")
    thing(name)
    body = _extract()["things"][_numbers()[name]]["svg"][style]
    side = _extract()["styles"][style]["side"]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {side} {side}" width="{side}" height="{side}">{body}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SPRITE_SIDE, height=SPRITE_SIDE))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def render(
    name: str,
    style: str = "noto",
    *,
    size: int = 224,
    background: tuple[int, int, int] | str = "white",
    scale: float = 0.8,
    offset: tuple[float, float] = (0.0, 0.0),
    rotation: float = 0.0,
    flip: bool = False,
    count: int = 1,
    arrangement: int = 0,
) -> Image.Image:
    """Draw one to four copies of a thing on a plain background; the arguments decide every pixel.

    size: side of the picture in pixels.  scale: side of a single drawing in picture widths.
    offset: shift right and down in picture widths.  rotation: degrees counter-clockwise.
    arrangement: which of `ARRANGEMENTS[count]` (taken modulo their number).
    Raises ArtworkError for unknown names, styles, colours or counts.
    """
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise ArtworkError(f"no background is called {background!r}: {', '.join(BACKGROUNDS)}")
        background = BACKGROUNDS[background]
    if count not in ARRANGEMENTS:
        raise ArtworkError(f"count must be 1 to 4, not {count!r}")
    centres = ARRANGEMENTS[count][arrangement % len(ARRANGEMENTS[count])]
    drawing = sprite(name, style)
    if flip:
        drawing = ImageOps.mirror(drawing)
    if rotation:
        drawing = drawing.rotate(rotation, Image.Resampling.BICUBIC)
    side = max(1, round(size * scale * (1.0 if count == 1 else SEVERAL_SCALE)))
    drawing = drawing.resize((side, side), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (size, size), background)
    for x, y in centres:
        left = round((x + offset[0]) * size - side / 2)
        top = round((y + offset[1]) * size - side / 2)
        picture.paste(drawing, (left, top), drawing)
    return picture
