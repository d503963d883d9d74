from __future__ import annotations

import pytest
import torch

from balancedit.layer.recent import RecentTensors


def test_what_was_wanted_longest_ago_is_forgotten() -> None:
    recent = RecentTensors(limit=100)
    made: list[str] = []

    def get(name: str, numbers: int = 10) -> None:
        def make() -> dict[str, torch.Tensor]:
            made.append(name)
            return {"a": torch.zeros(numbers)}

        recent.get(name, make)

    for name in ("x", "y", "x", "z", "x", "y"):  # 40 bytes each: two fit
        get(name)
    assert made == ["x", "y", "z", "y"]
    assert recent.nbytes == 80
    get("large", 1000)
    assert recent.nbytes == 4000, "the one wanted last stays, however large"
    get("x")
    assert recent.nbytes == 40
    recent.forget("x")
    recent.forget("never there")
    assert recent.nbytes == 0


def test_what_cannot_be_made_is_not_kept() -> None:
    recent = RecentTensors(limit=100)

    def fail() -> dict[str, torch.Tensor]:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        recent.get("x", fail)
    assert recent.get("x", lambda: {"a": torch.ones(1)})["a"].item() == 1
