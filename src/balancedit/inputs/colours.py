"""Colours of every kind that Pillow decodes, as 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image


def on_white(image: Image.Image) -> Image.Image:
    """A new RGB image with the colours people see on a white page. Raises `ValueError` or `OSError`
    where there is no telling them."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        grey = _wide(image)
        clear = image.info.get("transparency")
        if isinstance(clear, int):  # a grey of 16 bits that stands for nothing
            grey.paste(255, None, Image.fromarray(np.asarray(image) == clear))
        return grey.convert("RGB")
    if image.mode in ("La", "RGBa"):  # colours already multiplied by alpha
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _wide(image: Image.Image) -> Image.Image:
    """Grey levels of more than 8 bits as 8-bit grey.

    16-bit (`I;16`): 65535 is white. 32-bit whole numbers: as they are if all lie in 0…255, as
    16-bit if in 0…65535. Floats: 1.0 is white if all lie in 0…1, 255 if in 0…255. Otherwise there
    is no telling, and the darkest becomes black, the brightest white. NaN is black.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;"):
        table = np.rint(np.arange(65536) * (255 / 65535)).astype(np.uint8)
        return Image.fromarray(table[values])
    # In float64: a picture may span more than float32 can subtract.
    with np.errstate(invalid="ignore"):  # some NaN of broken files
        values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no pixel has a finite value")
    low, high = finite.min(), finite.max()
    for top in (1.0, 255.0) if image.mode == "F" else (255.0, 65535.0):
        if low >= 0 and high <= top:
            low, high = 0.0, top
            break
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    grey = (values - low) * (255 / ((high - low) or 1))
    return Image.fromarray(np.rint(grey).astype(np.uint8))
