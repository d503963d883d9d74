"""Names of settings: the same for every method, and for training MEND's network."""

from __future__ import annotations

from typing import TypeVar

RECOMMENDED, PAPER = "recommended", "paper"
#: The paper's two backbones, for which "paper/…" has the settings of its authors' code.
BACKBONES = ("blip2-opt", "minigpt4")

Config = TypeVar("Config")


def alike(paper: Config) -> dict[str, Config]:
    """The "paper" presets of a method whose source has the same numbers for every model."""
    return {PAPER: paper} | {f"{PAPER}/{backbone}": paper for backbone in BACKBONES}
