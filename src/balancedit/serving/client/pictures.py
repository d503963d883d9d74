"""Pictures as requests carry them: a file that any server reads goes as it is, all else as PNG."""

from __future__ import annotations

import base64
import re
from pathlib import Path

_MOST = 8 * 2**20  # bytes that go as they are; larger ones may be smaller as PNG
_KINDS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
}


def data_url(picture: Path | str) -> str:
    """The picture of a file, or of a data URL, as a data URL. Raises `ImageError`."""
    raw = b"" if isinstance(picture, str) else _small_file(picture)
    kind = next((kind for kind, begin in _KINDS.items() if begin.match(raw)), None)
    if kind is None:
        raw, kind = _as_png(picture), "image/png"
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def _small_file(path: Path) -> bytes:
    """What an ordinary file holds; nothing where it is another thing, or large."""
    path = path.expanduser()
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            return b""
        return path.read_bytes()
    except (OSError, ValueError):
        return b""  # opening it as a picture says why


def _as_png(picture: Path | str) -> bytes:
    import io  # these need NumPy and Pillow, which take a moment to load

    from balancedit.inputs.images import open_image

    made = io.BytesIO()
    open_image(picture).save(made, "PNG")
    return made.getvalue()
