"""Editors of the baselines on tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from balancedit.methods.mend_network import MendNetwork, TrainedFor, save_network

MakeEditor = Callable[..., Editor]

#: Strong enough for the tiny models to learn; GRACE edits a layer before the last block, since a
#: value there reaches every token of the answer.
SETTINGS: dict[str, dict[str, Any]] = {
    "ft": {"lr": 0.05},
    "grace": {"epsilon": 0.4},
    "ike": {},
    "mend": {},
}


@pytest.fixture
def make(family: str, network: Path) -> MakeEditor:
    """Editors of one method on fresh copies of one tiny model."""

    def make(method: str, layer: str | None = None, **options: Any) -> Editor:
        layers = tiny.BEFORE_LAST if method == "grace" else tiny.LAST
        settings = SETTINGS[method] | options
        if method == "mend":
            settings = {"network": network} | settings
        return Editor.on(tiny.load(family, layer or layers[family]), method=method, **settings)

    return make


@pytest.fixture
def network(family: str, tmp_path: Path) -> Path:
    """A MEND network of one tiny model's last layer, as if trained: no longer the identity."""
    loaded = tiny.load(family)
    weight = loaded.model.get_submodule(loaded.layer).weight
    made = MendNetwork(weight.shape[1], weight.shape[0], rank=4, lr=0.3)
    made.belong_to(weight.detach())
    with torch.no_grad():
        for layer in made.layers:
            layer.u.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    trained_for = TrainedFor("tiny", loaded.fingerprint(), loaded.layer, "tiny", "0", 1, {})
    save_network(tmp_path / "network.safetensors", made, trained_for)
    return tmp_path / "network.safetensors"
