"""What the demo asks and what it hopes for. No answers are written here, only hopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["edited", "rephrased", "drawn", "question", "thing", "black"]

PICTURE = "owl"
THING = "owl"
NEW_NAME = "hedwig"
QUESTION = "What is this?"
BLACK = "black"  # the picture that is no picture


@dataclass(frozen=True)
class Probe:
    """One question about one picture, asked before, during and after the edit.

    truth: what the picture shows, to judge the untouched model by; None where nothing is right.
    """

    role: Role
    picture: str
    question: str
    truth: str | None = None

    @property
    def reached(self) -> bool:
        """Whether the edit should change this answer; every other should stay as it was."""
        return self.role in ("edited", "rephrased", "drawn")


PROBES: tuple[Probe, ...] = (
    Probe("edited", PICTURE, QUESTION, THING),
    # Wordings that `pocket` was not trained on.
    Probe("rephrased", PICTURE, "What would you call this?", THING),
    Probe("rephrased", PICTURE, "Could you name what is shown?", THING),
    Probe("drawn", "owl-twemoji", QUESTION, THING),
    Probe("drawn", "owl-openmoji", QUESTION, THING),
    Probe("drawn", "owl-fluent", QUESTION, THING),
    Probe("question", PICTURE, "Which colour is the background?", "yellow"),
    Probe("question", PICTURE, "What kind of thing is this?", "animal"),
    Probe("question", PICTURE, "How many are there?", "one"),
    Probe("thing", "parrot", QUESTION, "parrot"),
    Probe("thing", "swan", QUESTION, "swan"),
    Probe("thing", "elephant", QUESTION, "elephant"),
    Probe("black", BLACK, QUESTION),
)
