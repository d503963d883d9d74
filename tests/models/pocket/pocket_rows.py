"""Token rows for the tiny pocket model."""

from __future__ import annotations

from balancedit.models.pocket.configuration import PocketConfig

IMAGE = 64  # the tiny model's placeholder
N = PocketConfig().image_tokens


def row(pictures: int) -> list[int]:
    """A prompt with so many pictures, and text that tells rows apart."""
    content = [1]
    for number in range(pictures):
        content += [IMAGE] * N + [10 + number]
    return [*content, 20 + pictures, 30, 31, 32 + pictures]
