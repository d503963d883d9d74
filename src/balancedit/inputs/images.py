"""Pictures in: whatever a person has, as upright 8-bit RGB, or an error that says what is wrong.

This module knows nothing about models. What it accepts and how it converts:

- JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 and PPM files (a path, the bytes, or a data
  URL), HEIC and JPEG XL where a Pillow plug-in for them is registered, Pillow images, and uint8
  arrays (H, W), (H, W, 3) or (H, W, 4);
- transparency is laid on white; an animation gives its first frame; EXIF rotation is applied;
- 16 bits a channel are scaled to 8. Whole numbers of 32 bits and floats carry no range of their
  own, see `colours.py`.

Colour profiles are ignored, as the models' own image processors do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError, features

from balancedit.errors import ImageError
from balancedit.inputs.colours import on_white
from balancedit.inputs.text import is_data_url as is_data_url

#: Above this a picture is refused before it is decoded: 192 MB as RGB. No model looks at more.
MAX_PIXELS = 64_000_000

#: A longer side of more than so many shorter ones is refused. Image processors scale the shorter
#: side to a few hundred pixels: at 336 this is what makes no more than `MAX_PIXELS` of it.
MAX_ASPECT = 500

#: Larger files are refused before they are read: as many pixels as are allowed, at 8 bytes each.
MAX_BYTES = 8 * MAX_PIXELS

Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

# Only formats that decode in plain memory: Pillow would run Ghostscript for EPS.
_FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM"),
    *("HEIF", "JXL"),  # by plug-ins, where registered
)
_KINDS = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
#: How files begin that are pictures, but of kinds that only plug-ins read: pattern, kind, remedy.
_PLUGGED = (
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC", "pillow_heif.register_heif_opener()"),
    (rb"....ftypavi[fs]", "AVIF", "import pillow_avif"),
    (rb"(\xff\x0a|....JXL )", "JPEG XL", "import pillow_jxl"),
)


def open_image(source: Source, *, max_pixels: int | None = None) -> Image.Image:
    """The picture as a new, fully decoded, upright RGB image without metadata.

    max_pixels: a picture with more (None: `MAX_PIXELS`) is refused before it is decoded. Raises
    `ImageError`, naming the file and the remedy, for anything that is not a usable picture. A
    Pillow image that is passed in is left as it was.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if isinstance(source, Image.Image):
        return _to_rgb(source, _label(source), most)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    name = _label(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        _check_bytes(len(source), name)
        return _decode(io.BytesIO(source), name, most)
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(
            f"a picture was expected (a path, bytes, a Pillow image or an array), not a "
            f"{type(source).__name__}"
        )
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise ImageError(f"{name} is a web address; download it and give the file")
    if is_data_url(source):
        return _decode(io.BytesIO(_from_data_url(str(source))), name, most)
    path = Path(os.path.expanduser(source))  # as it is where there is no such user
    try:
        if path.is_dir():
            raise ImageError(f"{name} is a directory; give one picture in it")
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"{name} is not an ordinary file; save the picture to one")
        _check_bytes(found.st_size, name)
        with open(path, "rb") as file:
            return _decode(file, name, most)
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {name}; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        said = getattr(error, "strerror", None) or error
        raise ImageError(f"{name} cannot be read ({said}); check its permissions") from error


def _from_data_url(url: str) -> bytes:
    """The bytes of a data URL (RFC 2397). Raises `ImageError`."""
    name = _label(url)
    kind, comma, data = url.partition(",")
    if not comma:
        raise ImageError(f"{name} is a data URL without data; give data:image/png;base64,…")
    _check_bytes(len(data) * 3 // 4, name)
    raw = unquote_to_bytes(data)
    if not kind.lower().endswith(";base64"):
        return raw
    raw = raw.translate(None, b" \t\r\n")
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _damaged(name, error) from error


def pixel_hash(image: Image.Image) -> str:
    """SHA-256, in hexadecimal, of the size and the RGB pixels: equal for equal pictures, whatever
    file they came from."""
    rgb = image if image.mode == "RGB" else open_image(image)
    hasher = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    hasher.update(rgb.tobytes())
    return hasher.hexdigest()


def thumbnail(image: Image.Image, side: int = 96) -> bytes:
    """A small encoded copy, WebP where Pillow has it and PNG elsewhere, of at most `side` pixels a
    side, without metadata. Never larger than the picture itself."""
    small = open_image(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if features.check("webp"):
        small.save(out, "WEBP", quality=85)
    else:
        small.save(out, "PNG", optimize=True)
    return out.getvalue()


def solid(size: tuple[int, int], colour: str | tuple[int, int, int]) -> Image.Image:
    """A picture of one colour; `size` is (width, height)."""
    _check_size(size, "a plain picture")
    try:
        return Image.new(
            "RGB", size, ImageColor.getrgb(colour) if isinstance(colour, str) else colour
        )
    except (ValueError, TypeError) as error:
        raise ImageError(
            f"'{colour}' is not a colour; give a name such as 'black', '#rrggbb', or three numbers"
        ) from error


#: Pictures that say nothing, for the negative sample (paper, Table 7).
ANCHORS = ("black", "white", "grey", "noise")


def anchor(name: str, size: tuple[int, int]) -> Image.Image:
    """One of `ANCHORS`; `size` is (width, height). Noise is uniform, the same every time."""
    if name != "noise":
        return solid(size, name)
    width, height = size
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def _label(source: object) -> str:
    """What to call the picture in a message, on one line."""
    if isinstance(source, Image.Image):
        filename = getattr(source, "filename", "")
        return _label(filename) if filename else "the given picture"
    if isinstance(source, (str, os.PathLike)):
        name = os.fsdecode(os.fspath(source))
        if is_data_url(source):
            name = f"{name[:40]}…"
        name = name if len(name) <= 200 else f"{name[:100]}…{name[-90:]}"
        return "'" + "".join(c if c.isprintable() else "?" for c in name) + "'"
    return "the given picture data"


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise ImageError(
            f"{name} has {size:,} bytes, more than {MAX_BYTES // 1_000_000} million; scale the "
            "picture down first"
        )


def _check_size(size: tuple[int, int], name: str, max_pixels: int | None = None) -> None:
    width, height = size
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width}×{height}); give another picture")
    if width * height > most:
        raise ImageError(
            f"{name} has {width}×{height} pixels, more than {most // 1_000_000} million; "
            "scale it down first"
        )
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"{name} has {width}×{height} pixels; one side is more than {MAX_ASPECT} times the "
            "other, and no model sees anything in that: cut out a part of it"
        )


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Decode an open file; the size is checked from its header first."""
    head = file.read(4096)
    file.seek(0)
    if not head:
        raise ImageError(f"{name} is empty; give a picture")
    Image.init()
    try:
        with _quietly():
            image = Image.open(file, formats=[f for f in _FORMATS if f in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has more than {max_pixels // 1_000_000} million pixels; scale it down first"
        ) from error
    except UnidentifiedImageError as error:
        if b"<svg" in head.lower():
            raise ImageError(
                f"{name} is an SVG drawing, not pixels; render it to PNG first"
            ) from error
        for beginning, kind, remedy in _PLUGGED:
            if re.match(beginning, head, re.DOTALL):
                raise ImageError(
                    f"{name} is {kind}, or a damaged one; Pillow reads it with a plug-in alone: "
                    f"call {remedy} first, or convert it to PNG"
                ) from error
        raise ImageError(
            f"{name} is not a picture that can be read; give an undamaged {_KINDS} file"
        ) from error
    except Exception as error:  # a broken header makes Pillow's plugins raise nearly anything
        raise _damaged(name, error) from error
    with image:
        return _to_rgb(image, name, max_pixels)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Pillow from printing warnings: about pictures above its own size limit, which is higher
    than ours, and about metadata it cannot read, which nobody asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _damaged(name: str, error: Exception) -> ImageError:
    said = str(error).split("\n")[0] or type(error).__name__
    return ImageError(f"{name} is damaged or cut short ({said}); fetch or save it again")


def _to_rgb(image: Image.Image, name: str, max_pixels: int | None = None) -> Image.Image:
    """Decode, turn upright and convert; `image` itself keeps its mode and metadata."""
    _check_size(image.size, name, max_pixels)
    try:
        with _quietly():
            image.load()
    except Exception as error:  # as above: decoders raise nearly anything
        raise _damaged(name, error) from error
    try:
        with _quietly():
            upright = ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF says nothing about rotation; the pixels are fine
        upright = image
    try:
        rgb = on_white(upright)
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{name} has colours of kind '{image.mode}' that cannot be converted; save it as RGB"
        ) from error
    rgb.info = {}
    return rgb


def _from_array(array: np.ndarray) -> Image.Image:
    """A uint8 array (H, W), (H, W, 3) or (H, W, 4) as a picture."""
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shape_fits:
        raise ImageError(
            f"an array of shape {array.shape} and type {array.dtype} is not a picture; give uint8 "
            "of shape (height, width, 3)"
        )
    _check_size((array.shape[1], array.shape[0]), "the given array")
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)), "the given array")
