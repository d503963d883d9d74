"""Editors of the baselines on tiny models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tiny
from balancedit import Editor

MakeEditor = Callable[..., Editor]

#: Strong enough for the tiny models to learn; GRACE edits a layer before the last block, since a
#: value there reaches every token of the answer.
SETTINGS: dict[str, dict[str, Any]] = {
    "ft": {"lr": 0.05},
    "grace": {"epsilon": 0.4},
    "ike": {},
}
BEFORE_LAST = {
    "llava": "model.language_model.layers.1.mlp.up_proj",
    "blip2": "language_model.model.decoder.layers.1.fc2",
}
LAST = {"llava": tiny.LLAVA_LAYER, "blip2": tiny.OPT_LAYER}


@pytest.fixture
def make(family: str) -> MakeEditor:
    """Editors of one method on fresh copies of one tiny model."""

    def make(method: str, **options: Any) -> Editor:
        model, processor = tiny.llava() if family == "llava" else tiny.blip2()
        layers = BEFORE_LAST if method == "grace" else LAST
        where = {"layer": layers[family]}
        if family == "blip2":
            where["prompt"] = (
                "Question: {question} Answer: "  # a byte is a token: no space to learn
            )
        settings = where | SETTINGS[method] | options
        return Editor.load(model, processor=processor, method=method, **settings)

    return make
