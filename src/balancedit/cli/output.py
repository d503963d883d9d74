"""What reaches the terminal: results on standard output, everything else on standard error.

This module knows nothing about models. Rich is imported where it is used, so that a command that
prints JSON does not pay for it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.progress import Progress, TaskID
    from rich.text import Text

REPLACED = "\N{REPLACEMENT CHARACTER}"
ISOLATE, POP = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
_JOINER = "\N{ZERO WIDTH JOINER}"
#: Not seen, but part of how words are written: joiners and marks of direction.
_OF_WORDS = (
    f"{_JOINER}\N{ZERO WIDTH NON-JOINER}"
    "\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{ARABIC LETTER MARK}"
)
_SKIN = [chr(code) for code in range(0x1F3FB, 0x1F400)]  # colours of the emoji before them
#: Not seen and of no use on a terminal: soft hyphen, zero-width spaces, byte-order mark.
_UNSEEN = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))
#: A table printed into a file or a pipe is not squeezed into the 80 columns Rich assumes there.
_PIPE_WIDTH = 140


def console() -> Console:
    """A console for results, on standard output."""
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, markup=False, width=None if known else _PIPE_WIDTH)


def as_json(value: Any) -> str:
    """JSON text of plain types; a number that is not finite, which JSON cannot hold, is null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def note(kind: str, message: str) -> None:
    """One line on standard error: ``error: …`` or ``warning: …``."""
    line = f"{kind}: {printable(message)}"
    if sys.stderr.isatty():
        colour = "31" if kind == "error" else "33"
        line = f"\x1b[1;{colour}m{kind}:\x1b[0m{line[len(kind) + 1 :]}"
    print(line, file=sys.stderr)


def printable(text: str) -> str:
    """Text on one line, without characters that would steer the terminal: models say anything.

    Joiners and marks of direction belong to words and stay; text with letters that run from right
    to left is isolated, so that what stands beside it keeps its place.
    """
    line = " ".join(text.translate(_UNSEEN).split())
    shown = "".join(c if c.isprintable() or c in _OF_WORDS else REPLACED for c in line)
    if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in shown):
        return ISOLATE + shown + POP
    return shown


def cell(*texts: str) -> Cell:
    """A table cell that is cut, not wrapped, where the terminal is too narrow; of several texts,
    with arrows between them. Its column must be free to shrink, so leave `no_wrap` to the columns
    that may not."""
    return Cell(" → ".join(map(printable, texts)))


@dataclass(frozen=True)
class Cell:
    """One line of printable text in a table."""

    text: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.text import Text

        return Text(self.text).__rich_measure__(console, options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        yield Text(cut(self.text, options.max_width), no_wrap=True, end="")


def cut(text: str, width: int) -> str:
    """Text of at most so many columns, an ellipsis among them where it was longer: no character is
    parted from its marks, and what was isolated stays so."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    kept, used = "", 1
    for character in _characters(text):
        used += cell_len(character)
        if used > width:
            break
        kept += character
    return kept + "…" * (width > 0) + POP * (kept.count(ISOLATE) - kept.count(POP))


def _characters(text: str) -> Iterator[str]:
    """What a reader takes for one character each, with its marks and what is joined to it."""
    held = ""
    for c in text:
        goes_on = unicodedata.category(c)[0] == "M" or c in _OF_WORDS or c in _SKIN
        if held and not goes_on and not held.endswith(_JOINER):
            yield held
            held = ""
        held += c
    if held:
        yield held


@contextmanager
def working(doing: str) -> Iterator[None]:
    """Show a spinner on standard error while something lasts, if a person is watching."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(doing):
        yield


@contextmanager
def progress(doing: str) -> Iterator[Steps]:
    """A progress bar with the time left on standard error, if a person is watching."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Steps(bar, bar.add_task(doing, total=None))


@dataclass(frozen=True)
class Steps:
    """The bar of `progress`."""

    _bar: Progress
    _task: TaskID

    def total(self, steps: int) -> None:
        """Say how many steps there are."""
        self._bar.update(self._task, total=steps)

    def advance(self, doing: str) -> None:
        """One step is done."""
        self._bar.update(self._task, advance=1, description=doing)


def number(value: float | None) -> str:
    """A distance or radius for people: four digits; rounding noise is 0."""
    if value is None or not math.isfinite(value):
        return "–"
    return "0" if abs(value) < 1e-5 else f"{value:.4g}"


def age(created: str) -> str:
    """How long ago an ISO 8601 time was: ``just now``, ``5 min``, ``3 h``, ``12 days``."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return created
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = (datetime.now(UTC) - then).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86400:.0f} days"
