"""The paper's settings for its two backbones."""

from __future__ import annotations

from typing import Any

import pytest

from balancedit import Editor
from balancedit.bench.mend_settings import PRESETS
from balancedit.methods import configure
from tiny.families import FAMILIES


@pytest.mark.parametrize(
    ("preset", "family", "alpha", "layer"),
    [
        ("paper/blip2-opt", "blip-2", 0.05, "language_model.model.decoder.layers.2.fc2"),
        (
            "paper/minigpt4",
            "balancedit_minigpt4",
            0.2,
            "language_model.model.layers.1.mlp.up_proj",
        ),
    ],
)
def test_a_preset_is_the_authors_settings_on_the_papers_layer(
    preset: str, family: str, alpha: float, layer: str
) -> None:
    model, processor = FAMILIES[family]()
    editor = Editor.load(model, processor=processor, preset=preset)
    config: Any = editor._method.config  # type: ignore[attr-defined]
    assert (config.key, config.distance, config.degenerate) == ("mean", "euclidean", "keep")
    assert (config.alpha, config.steps, config.lr, config.eps) == (alpha, 50, 1e-4, 1e-4)
    assert editor.layer == layer, "the last block's, as in the paper"


def test_the_baselines_have_the_sources_numbers_under_every_paper_name() -> None:
    for preset in ("paper", "paper/blip2-opt", "paper/minigpt4"):
        ft: Any = configure("ft", preset, {})
        assert (ft.steps, ft.lr) == (25, 1e-2)
        grace: Any = configure("grace", preset, {})
        assert (grace.epsilon, grace.replace, grace.steps, grace.lr) == (1.0, "prompt", 100, 1.0)
        ike: Any = configure("ike", preset, {})
        assert ike.demonstrations == 32
        assert configure("mend", preset, {}) == configure("mend", "recommended", {})
        assert (PRESETS[preset].rank, PRESETS[preset].lr, PRESETS[preset].lr_lr) == (
            1920,
            1e-6,
            1e-4,
        )
