"""Fixtures shared by the tests: tiny editors of two architectures, and the default model."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in the tests may reach for a hub

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import rounding
import tiny
from balancedit import Editor
from balancedit.answering import generate
from tiny import taught

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


@pytest.fixture(scope="module")
def short_untouched_answers() -> Iterator[None]:
    """What untouched models say is cut after four tokens, for models that never come to an end:
    each further token is one more near-tie that another batch's rounding may turn over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "_PLAIN", generate._PLAIN._replace(max_new_tokens=4))
        yield


@pytest.fixture
def make_editor(family: str) -> MakeEditor:
    """Editors on fresh copies of one tiny model, edits strong enough to be learned by it."""

    def make(**options: Any) -> Editor:
        model, processor = tiny.llava() if family == "llava" else tiny.blip2()
        prompt = None if family == "llava" else "Question: {question} Answer:"
        return _strong_editor(model, processor, tiny.LAST[family], prompt, options)

    return make


@pytest.fixture
def make_sure_editor(family: str) -> MakeEditor:
    """Editors on fresh copies of one tiny model that is sure of its answers."""

    def make(**options: Any) -> Editor:
        model, processor = taught.model(family)
        return _strong_editor(model, processor, tiny.LAST[family], tiny.PROMPT[family], options)

    return make


def _strong_editor(
    model: Any, processor: Any, layer: str, prompt: str | None, options: dict[str, Any]
) -> Editor:
    settings = {"lr": 0.5, "steps": 60, "alpha": 0.9} | options
    return Editor.load(model, processor=processor, layer=layer, prompt=prompt, **settings)


@pytest.fixture(scope="session")
def pocket() -> Editor:
    """The default model, loaded once. Tests leave it without edits."""
    return Editor.load("pocket")
