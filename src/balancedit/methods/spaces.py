"""The settings among which `balancedit bench tune` chooses, by method.

A method's recommended preset is always a candidate and need not be listed; a method that has more
to set than that adds a line to `SPACES`. (MEND has not: its network is for one layer.) This
module knows nothing about models: how far up the stack of blocks a layer lies is said as a share,
which suits stacks of any height.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from balancedit.methods import offered
from balancedit.methods.presets import RECOMMENDED

LAST = 1.0  # the block of the layer that the run edits, which is the last where a table names it
DEPTHS = (LAST, 0.85, 0.7)


@dataclass(frozen=True)
class Space:
    """options: values by option, each combined with each. depths: where the edited layer may lie,
    as shares of the way from the first block to the run's own."""

    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    depths: tuple[float, ...] = (LAST,)


SPACES: dict[str, Space] = {
    "balancedit": Space(
        {
            "alpha": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
            "key": ("mean", "both"),
            "distance": ("euclidean", "cosine"),
            "scope": ("answer-aware", "paper"),
        },
        DEPTHS,
    ),
    # None is the step size of the model's table; the others are none that a table has.
    "ft": Space({"lr": (None, 3e-5, 3e-4, 3e-3, 1e-2), "steps": (10, 25, 50)}, DEPTHS),
    "grace": Space(
        {"epsilon": (1.0, 2.0, 3.0, 6.0), "replace": ("last", "prompt"), "lr": (1.0, 0.1)}, DEPTHS
    ),
    "ike": Space({"demonstrations": (0, 2, 4, 8, 16, 32), "mix": ("mixed", "triples")}),
}


@dataclass(frozen=True)
class Candidate:
    """One point of a space. options: those that differ from the recommended preset's; depth: as in
    `Space`."""

    options: Mapping[str, Any]
    depth: float = LAST


def candidates(method: str, seed: int = 0) -> list[Candidate]:
    """All candidates of a method: its recommended preset, then the rest of its space in an order
    that the seed decides. Raises `InputError` for an unknown method."""
    preset = vars(offered(method).presets[RECOMMENDED])
    space = SPACES.get(method, Space())
    points = [Candidate({})]
    for values in product(*space.options.values(), space.depths):
        named = dict(zip(space.options, values[:-1], strict=True))
        other = Candidate({o: v for o, v in named.items() if v != preset[o]}, values[-1])
        if other not in points:
            points.append(other)
    return [points[0], *sorted(points[1:], key=lambda c: _place(method, c, seed))]


def _place(method: str, candidate: Candidate, seed: int) -> str:
    """Hashes order candidates as if drawn, the same on every machine and Python."""
    key = f"{seed} {method} {sorted(candidate.options.items())!r} {candidate.depth}"
    return hashlib.sha256(key.encode()).hexdigest()
