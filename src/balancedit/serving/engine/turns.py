"""What is asked: for now one question about what a prompt shows, opened and checked
(`inputs.pairing.checked`). This is the one place that knows its form."""

from __future__ import annotations

from typing import TypeAlias

from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import each

Turns: TypeAlias = Row


def row_of(turns: Turns) -> Row:
    """What the model is asked."""
    return turns


def pictures_in(turns: Turns) -> int:
    """How many pictures it shows."""
    return len(each(turns[0]))


def characters_in(turns: Turns) -> int:
    """Characters of its text."""
    return len(turns[1])
