"""Fixtures shared by the tests: tiny editors of two architectures, and the default model."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in the tests may reach for a hub

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import rounding
import tiny
from balancedit import Editor

if os.environ.get("BALANCEDIT_ROUNDING") == "by-rows":  # see tests/kernels.py
    rounding.install()

MakeEditor = Callable[..., Editor]


@pytest.fixture(params=["llava", "blip2"])
def family(request: pytest.FixtureRequest) -> str:
    """An architecture: LLaVA keeps (B, T, D) in its layers, OPT flattens to (B·T, D) and its
    BLIP-2 generates through the language model alone."""
    return str(request.param)


@pytest.fixture(params=["mean", "last"])
def key(request: pytest.FixtureRequest) -> str:
    """Both kinds of key."""
    return str(request.param)


@pytest.fixture
def make_editor(family: str) -> MakeEditor:
    """Editors on fresh copies of one tiny model, edits strong enough to be learned by it."""

    def make(**options: Any) -> Editor:
        if family == "llava":
            model, processor = tiny.llava()
            where: dict[str, Any] = {"layer": tiny.LLAVA_LAYER}
        else:
            model, processor = tiny.blip2()
            where = {"layer": tiny.OPT_LAYER, "prompt": "Question: {question} Answer:"}
        settings = {"lr": 0.5, "steps": 60, "alpha": 0.9} | options
        return Editor.load(model, processor=processor, **where, **settings)

    return make


@pytest.fixture(scope="session")
def pocket() -> Editor:
    """The default model, loaded once. Tests leave it without edits."""
    return Editor.load("pocket")
