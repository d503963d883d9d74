"""What is to be built, what that will take, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from balancedit.data.building.steps import IMAGES, ImageStep


@dataclass(frozen=True)
class Plan:
    """What is built. attempts: replies tried a step before its fact is set aside."""

    rephrases: int = 10
    images: int = 10
    seed: int = 0
    attempts: int = 3
    concurrency: int = 4

    def identity(self) -> dict[str, Any]:
        """What two starts of one build must share."""
        return {"rephrases": self.rephrases, "images": self.images, "seed": self.seed}

    def pictures(self, step: ImageStep) -> int:
        """How many pictures a step paints."""
        return self.images if step.name == IMAGES else 1


@dataclass(frozen=True)
class Estimate:
    """What is left to ask, if every first reply does. Tokens are guessed at four characters each.

    Prices are in any currency: a million tokens in and out, and a picture.
    """

    facts: int
    texts: int
    images: int
    tokens_in: int
    tokens_out: int

    def cost(self, price_in: float, price_out: float, price_image: float) -> float:
        """The sum of what is left."""
        tokens = self.tokens_in * price_in + self.tokens_out * price_out
        return tokens / 1e6 + self.images * price_image


@dataclass(frozen=True)
class Outcome:
    """What a start of the build came to: ids of complete facts, and id -> why of the others."""

    complete: tuple[str, ...]
    set_aside: dict[str, str]
