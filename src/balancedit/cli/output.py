"""What reaches the terminal: results on standard output, everything else on standard error.

This module knows nothing about models. Rich is imported where it is used, so that a command that
prints JSON does not pay for it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.text import Text

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
    """Text on one line, without characters that would steer the terminal: models say anything."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def cell(text: str) -> Text:
    """A table cell that is cut, not wrapped, where the terminal is too narrow. Its column must be
    free to shrink, so leave `no_wrap` to the columns that may not."""
    from rich.text import Text

    return Text(printable(text), no_wrap=True, overflow="ellipsis")


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
