"""Readers of pictures: files of every kind that is read, and data URLs."""

from __future__ import annotations

import base64
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
from PIL import Image, features

from balancedit.inputs.images import MAX_PIXELS, open_image, pixel_hash, thumbnail
from balancedit.inputs.pictures import Pictures, open_pictures, small_copy
from fuzz import mutate
from fuzz.running import Reader

#: Ending -> mode and options to save with.
_MADE: dict[str, tuple[str, dict[str, object]]] = {
    "png": ("RGBA", {}),
    "palette.png": ("P", {"transparency": 0}),
    "wide.png": ("I;16", {}),
    "jpg": ("RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"}),
    "grey.jpg": ("L", {"progressive": True}),
    "cmyk.jpg": ("CMYK", {}),
    "gif": ("P", {}),
    "bmp": ("RGB", {}),
    "tiff": ("F", {}),
    "lzw.tiff": ("RGB", {"compression": "tiff_lzw"}),
    "webp": ("RGBA", {"lossless": True}),
    "ppm": ("RGB", {}),
    "jp2": ("RGB", {}),
    "avif": ("RGB", {}),
}
_NEEDS = {"webp": "webp", "jp2": "jpg_2000", "avif": "avif", "lzw.tiff": "libtiff"}


def _prepare(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for ending, (mode, options) in _MADE.items():
        if ending in _NEEDS and not features.check(_NEEDS[ending]):
            continue
        image = Image.fromarray(noise)
        image = image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)
        image.save(root / f"one.{ending}", **options)
    frames = [Image.fromarray(noise + k) for k in range(3)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(root / "pages.tiff", save_all=True, append_images=frames[1:])


def _feed(random: Random, root: Path) -> None:
    path = random.choice(sorted(root.iterdir()))
    data = path.read_bytes()
    if random.random() < 0.1:
        random.choice(mutate.KINDS)(path)
        _check(open_image(path))
        return
    # Most of what a decoder trusts stands in front.
    head = random.choice((len(data), 64, 200))
    data = mutate.bent(data[:head], random) + data[head:]
    if data.startswith(b"\x89PNG") and random.random() < 0.7:
        data = _summed(data)
    match random.randrange(4):
        case 0:
            url = "data:image/png;base64," + base64.b64encode(data).decode()
            if random.random() < 0.3:
                url = mutate.bent(url.encode(), random).decode(errors="replace")
            _check(open_image(url))
        case 1:
            path.write_bytes(data)
            _check(open_image(path))
        case 2:
            shown = open_pictures(Pictures(data, Image.new("RGB", (8, 8))))
            assert small_copy(shown)
        case 3:
            _check(open_image(data))


def _check(image: Image.Image) -> None:
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= MAX_PIXELS
    if image.width * image.height < 10**6:
        assert len(pixel_hash(image)) == 64
        assert thumbnail(image)


def _summed(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums again, as far as there are chunks."""
    made, at = bytearray(data), 8
    while at + 12 <= len(made):
        end = at + 8 + int.from_bytes(made[at : at + 4], "big")
        if end + 4 > len(made):
            break
        made[end : end + 4] = crc32(made[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(made)


# 64 million pixels are 192 MB as RGB; a decoder and a conversion hold them once or twice more.
READERS: tuple[Reader, ...] = (Reader("pictures", _prepare, _feed, memory=1000),)
