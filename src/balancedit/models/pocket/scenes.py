"""Scenes: how a thing is shown in one picture, and how such scenes are drawn at random.

A scene names everything that a question can be about: the thing, its artist's style, the colour
behind it, how many there are.  The same seed gives the same scene on every machine.  This module
knows nothing about models.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from balancedit.models.pocket import artwork

JITTER = 14  # a background keeps its name while each channel moves by this much


@dataclass(frozen=True)
class Scene:
    """One picture to be rendered; `style == ""` stands for a plain black picture."""

    thing: str
    style: str
    background: str
    rgb: tuple[int, int, int]
    count: int
    arrangement: int
    scale: float
    offset: tuple[float, float]
    rotation: float
    flip: bool

    def render(self, size: int = 224) -> Image.Image:
        """The picture, `size` pixels wide and high."""
        if not self.style:
            return Image.new("RGB", (size, size), self.rgb)
        return artwork.render(
            self.thing,
            self.style,
            size=size,
            background=self.rgb,
            scale=self.scale,
            offset=self.offset,
            rotation=self.rotation,
            flip=self.flip,
            count=self.count,
            arrangement=self.arrangement,
        )


def black() -> Scene:
    """The plain black picture, the editing method's default negative anchor."""
    return Scene("", "", "black", (0, 0, 0), 0, 0, 1.0, (0.0, 0.0), 0.0, False)


def sample(thing: str, style: str, seed: str) -> Scene:
    """A random scene of `thing` by `style`; `seed` is any text and decides all of it."""
    chance = random.Random(f"{seed}/{thing}/{style}")
    background = chance.choice(sorted(artwork.BACKGROUNDS))
    base = artwork.BACKGROUNDS[background]
    red, green, blue = (
        min(255, max(0, channel + chance.randint(-JITTER, JITTER))) for channel in base
    )
    count = chance.choice((1, 1, 1, 1, 2, 3, 4))
    room = 0.10 if count == 1 else 0.03
    return Scene(
        thing=thing,
        style=style,
        background=background,
        rgb=(red, green, blue),
        count=count,
        arrangement=chance.randrange(4),
        scale=chance.uniform(0.6, 0.9) if count == 1 else chance.uniform(0.72, 0.92),
        offset=(chance.uniform(-room, room), chance.uniform(-room, room)),
        rotation=chance.uniform(-15.0, 15.0),
        flip=chance.random() < 0.5,
    )
