"""FT's own: what one edit tunes, and with what settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from test_sequence import OTHER, B, C, logits

from balancedit.methods.ft import PRESETS
from contract import QUESTION, A


def test_an_edit_is_learned(make: Any) -> None:
    assert make("ft").edit(A, QUESTION, "ab").answer_after == "ab"


def test_each_edit_is_made_again_with_its_own_settings(make: Any, tmp_path: Path) -> None:
    editor, without = make("ft", edits=tmp_path / "edits"), make("ft")
    first = editor.edit(B, QUESTION, "xyz")
    editor.edit(C, OTHER, "cd")
    editor.revert(first.id)
    without.edit(C, OTHER, "cd")
    other_settings = make("ft", edits=tmp_path / "edits", lr=1e-3, steps=2)
    assert torch.equal(logits(other_settings), logits(without))


def test_the_sources_settings() -> None:
    assert (PRESETS["paper"].steps, PRESETS["paper"].lr) == (25, 1e-2)
    assert PRESETS["recommended"].lr is None
