"""Whether a painted picture can be used."""

from __future__ import annotations

import numpy as np

from balancedit.data.building.steps import Rejected
from balancedit.errors import ImageError
from balancedit.inputs.images import open_image

#: A picture none of whose pixels is brighter (of 255) is black: what safety filters give instead.
DARK = 8


def check(data: bytes) -> None:
    """Raises `Rejected` for what does not decode and for black pictures."""
    try:
        image = open_image(data)
    except ImageError as error:
        raise Rejected(f"no picture: {error}") from error
    if int(np.asarray(image).max()) <= DARK:
        raise Rejected("the picture is black")
