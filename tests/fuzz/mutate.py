"""Good samples made bad: bytes, JSON, the kind of file. All of it follows from a `Random`."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

#: Values that stand where others should: of other types, too large, empty, or that lead elsewhere.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, -0.5, 1e308, 2**31, 2**53 + 1, 2**63, 2**70, -(2**70)),
    *(float("nan"), float("inf"), float("-inf"), 10**400),
    *("", " ", "\0", "\n", "é" * 300, "‮abc", "\ud800", "[red]", "{}", "[]", "null", "-1", "%s"),
    *("../../elsewhere/precious", "/etc/passwd", "~/x", "C:\\x", "a/../b", "x" * 5000),
    *([], {}, [[]], [{}], {"": None}, [None], [1, "a"], {"a": {"b": []}}, [0.0] * 50),
)
_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
_PIECES = (b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\r", b"[" * 3000, b'{"a":' * 3000, b"9" * 5000)


def bent(data: bytes, random: Random) -> bytes:
    """Bytes with a few things changed in them."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randrange(len(made) + 1)
        end = min(len(made), at + random.choice((1, 1, 2, 4, 16, 300)))
        match random.randrange(8):
            case 0 if at < len(made):
                made[at] ^= 1 << random.randrange(8)
            case 1 if at < len(made):
                made[at] = random.randrange(256)
            case 2:
                piece = random.choice(_BYTES)
                made[at : at + len(piece)] = piece
            case 3:
                del made[at:end]
            case 4:
                made[at:at] = made[at:end]
            case 5:
                made[at:at] = random.choice((*_BYTES, *_PIECES))
            case 6:
                del made[at:]
            case 7:
                other = random.randrange(len(made) + 1)
                made[at:end] = made[other : other + end - at]
    return bytes(made)


def changed(value: Any, random: Random) -> Any:
    """A JSON value with one or two of its parts, wherever they are, changed, gone, moved or twice
    there."""
    made = [copy.deepcopy(value)]
    for _ in range(random.choice((1, 1, 1, 2))):
        holder, name = random.choice(list(_places(made)))
        match random.randrange(6):
            case 0 | 1 | 2:
                holder[name] = copy.deepcopy(random.choice(STRANGE))
            case 3 if holder is not made:
                del holder[name]
            case 4:
                _, other = random.choice(list(_places(made)))
                source = random.choice([h[n] for h, n in _places(made)])
                holder[name] = copy.deepcopy(source)
                if isinstance(holder, dict) and isinstance(other, str):
                    holder[other] = holder[name]
            case 5:
                holder[name] = [copy.deepcopy(holder[name])] * random.choice((1, 2, 50))
    return made[0] if made else None


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a JSON value as the object or list it is in and its name or index there."""
    names = list(value) if isinstance(value, dict) else range(len(value))
    for name in names:
        yield value, name
        if isinstance(value[name], (dict, list)):
            yield from _places(value[name])


def as_json(value: Any) -> bytes:
    """JSON as Python writes it: NaN and halves of characters among it."""
    return json.dumps(value).encode()


def bent_json(data: bytes, random: Random) -> bytes:
    """A JSON file changed in its bytes or in its values."""
    if random.random() < 0.3:
        return bent(data, random)
    return as_json(changed(json.loads(data), random))


def bent_lines(data: bytes, random: Random) -> bytes:
    """A JSON Lines file changed in its bytes, or in the values of a line."""
    if random.random() < 0.3:
        return bent(data, random)
    rows = data.split(b"\n")
    at = random.choice([i for i, row in enumerate(rows) if row.strip()])
    rows[at] = as_json(changed(json.loads(rows[at]), random))
    return b"\n".join(rows)


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _linked(to: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(to)

    return link


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


#: What may stand in a file's place.
KINDS: tuple[Callable[[Path], None], ...] = (
    *(Path.unlink, _piped, _folder, _linked("/dev/zero"), _linked("/dev/full"), _linked("nowhere")),
    *(_linked("/etc/hostname"), lambda path: path.write_bytes(b"") and None),
)
