"""Results as JSON that is short and can still be compared line by line: one record a line.

A record is an object or a list with nothing nested in it, or with little of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from balancedit.files.durable import write_durably

#: Characters up to which something nested is one line, and up to which a plain record is.
NESTED, RECORD = 100, 400


def as_lines(value: Any) -> str:
    """Plain JSON types as JSON, a record a line, its last line ended. What is read back is equal to
    `value`. Raises TypeError for other types."""
    return _lines(json.loads(json.dumps(value)), "") + "\n"


def write_lines(path: Path, value: Any) -> None:
    """Write plain JSON types so (`as_lines`), whole or not at all, in place of what was there.
    Raises OSError."""
    write_durably(path, as_lines(value).encode())


def _lines(value: Any, indent: str) -> str:
    """A value behind `indent` spaces that its first line has already."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value:
        return line
    members = value.values() if isinstance(value, dict) else value
    is_plain = not any(isinstance(member, (dict, list)) for member in members)
    if len(line) <= (RECORD if is_plain else NESTED):
        return line
    inner = indent + " "
    parts = [_lines(member, inner) for member in members]
    if isinstance(value, dict):
        names = [json.dumps(name, ensure_ascii=False) for name in value]
        parts = [f"{name}: {part}" for name, part in zip(names, parts, strict=True)]
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    return f"{opened}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closed}"
