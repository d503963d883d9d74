"""Which conversations a step teaches, and about which pictures.

Letters: R renderings, G cells a side, F features a cell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from torch import Tensor

from balancedit.models.pocket.concepts import concepts
from balancedit.models.pocket.recipe.dialogues import DOMAINS, Seen, Turn, talk, talk_with_fact


@dataclass(frozen=True)
class Pictures:
    """Features of training pictures. features: (R, G·G, F), half precision; seen: what each shows;
    black: (G·G, F)."""

    features: Tensor
    seen: Sequence[Seen]
    black: Tensor


@dataclass(frozen=True)
class Row:
    """One conversation about one picture. picture: number of the rendering, -1 the black one."""

    seen: Seen
    picture: int
    turns: list[Turn]


class Rows:
    """Draws conversations."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._of: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, seen in enumerate(pictures.seen):
            self._of[seen.concept.domain, seen.concept.key].append(number)
        self._photographed = [
            n for n, s in enumerate(pictures.seen) if s.concept.domain in ("grocery", "clothes")
        ]
        self._by_domain = {d: [c for c in concepts() if c.domain == d] for d in DOMAINS}

    def some(self, count: int, chance: Random, *, facts: bool = False) -> list[Row]:
        """Conversations about pictures of concepts, domain by domain in their shares."""
        return [self._one(chance, facts) for _ in range(count)]

    def _one(self, chance: Random, facts: bool) -> Row:
        domain = chance.choices(list(DOMAINS), list(DOMAINS.values()))[0]
        if facts and domain == "nothing":
            domain = "drawing"
        concept = chance.choice(self._by_domain[domain])
        shown = self._of.get((concept.domain, concept.key))
        if domain == "nothing":
            seen, number = Seen(concept, "black", 0), -1
        elif shown:
            number = chance.choice(shown)
            seen = self._pictures.seen[number]
        else:
            seen, number = Seen(concept), chance.choice(self._photographed)
        return Row(seen, number, (talk_with_fact if facts else talk)(seen, chance))
