"""What is known about models beforehand. Importing this loads neither torch nor any weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class BundledModel:
    """A model whose weights come with the package and its wheels, no hub needed.

    edit_lr, low_rank_lr: Adam step sizes of an edit with a full weight and with factors
    (`learning/low_rank.py`), chosen on things that no reported figure uses.
    mend_network: file of the MEND network trained for `layer`, or None.
    """

    name: str
    about: str
    layer: str
    edit_lr: float
    low_rank_lr: float
    mend_network: Path | None
    load: Callable[[Any, str], tuple[Any, Any]]  # (dtype, device) -> (model, processor)
    rephraser: Callable[[], Callable[[str, int], list[str]]]


def _load_pocket(dtype: Any, device: str) -> tuple[Any, Any]:
    from balancedit.models import pocket

    return pocket.load(dtype=dtype, device=device)


def _load_pocket_v2(dtype: Any, device: str) -> tuple[Any, Any]:
    from balancedit.models import pocket
    from balancedit.models.pocket import adapter

    return pocket.load(dtype=dtype, device=device, adapter=adapter.shipped(adapter.V2))


def _pocket_rephraser() -> Callable[[str, int], list[str]]:
    from balancedit.models import pocket

    return pocket.PlainRephraser()


BUNDLED: dict[str, BundledModel] = {
    "pocket": BundledModel(
        name="pocket",
        about="SmolLM2-135M + EfficientNet-Lite0, trained on open emoji artwork; CPU, no hub",
        layer="model.language_model.layers.29.mlp.up_proj",
        edit_lr=1e-3,
        low_rank_lr=0.05,
        mend_network=Path(__file__).parent / "pocket" / "assets" / "mend.safetensors",
        load=_load_pocket,
        rephraser=_pocket_rephraser,
    ),
    "pocket-v2": BundledModel(
        name="pocket-v2",
        about="the same parts, trained on photographs too; talks in sentences; CPU, no hub",
        layer="model.language_model.layers.29.mlp.up_proj",
        edit_lr=1e-3,
        low_rank_lr=0.05,
        mend_network=None,
        load=_load_pocket_v2,
        rephraser=_pocket_rephraser,
    ),
}
