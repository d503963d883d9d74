"""`pocket`: the default model, small enough for a laptop and whole without a model hub.

SmolLM2-135M-Instruct and EfficientNet-Lite0 from their PyPI wheels, a projector and a LoRA of our
own, trained on open emoji artwork: docs/pocket.md. Importing this package is cheap; torch and
transformers are imported by the calls that need them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balancedit.errors import ModelLoadError, first_line

if TYPE_CHECKING:
    from balancedit.models.pocket.modeling import PocketForConditionalGeneration
    from balancedit.models.pocket.processing import PocketProcessor


def register() -> None:
    """Make transformers' Auto classes know the model, so that `from_pretrained` reads its
    folder."""
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModelForImageTextToText,
        AutoProcessor,
    )

    from balancedit.models.pocket.configuration import PocketConfig
    from balancedit.models.pocket.modeling import PocketForConditionalGeneration
    from balancedit.models.pocket.processing import PocketImageProcessor, PocketProcessor

    AutoConfig.register(PocketConfig.model_type, PocketConfig, exist_ok=True)
    AutoModelForImageTextToText.register(
        PocketConfig, PocketForConditionalGeneration, exist_ok=True
    )
    AutoProcessor.register(PocketConfig, PocketProcessor, exist_ok=True)
    AutoImageProcessor.register(
        PocketConfig, image_processor_classes={"pil": PocketImageProcessor}, exist_ok=True
    )


def load(
    dtype: Any = None, device: str = "cpu", adapter: Path | None = None
) -> tuple[PocketForConditionalGeneration, PocketProcessor]:
    """The model and its processor, from the cache; the first call converts them (about 20 s).

    dtype: a torch dtype, float32 by default. adapter: another adapter than the shipped one.
    Raises `ModelLoadError`.
    """
    import torch

    from balancedit.models.pocket import convert
    from balancedit.models.pocket.modeling import PocketForConditionalGeneration
    from balancedit.models.pocket.processing import PocketProcessor
    from balancedit.models.quiet import quiet
    from balancedit.models.weights import load_weights

    register()
    folder = convert.ensure(adapter) / convert.MODEL
    try:
        with quiet():
            model: Any = load_weights(
                PocketForConditionalGeneration, str(folder), dtype=dtype or torch.float32
            )
            processor = PocketProcessor.from_pretrained(folder)
    except (ModelLoadError, OSError, ValueError) as error:
        raise ModelLoadError(
            f"the converted model is damaged: {first_line(error)}. Remove '{folder.parent}', and "
            "it is made again"
        ) from error
    return model.to(device).eval(), processor


class PlainRephraser:
    """Rewordings of a question by SmolLM2 as it was before our training, which is asked once a
    question. What it says is raw; `scope/rephrasing.py` checks it."""

    def __init__(self) -> None:
        self._loaded: Callable[[str, int], list[str]] | None = None
        self._said = functools.lru_cache(maxsize=1024)(self._ask)

    def __call__(self, question: str, n: int) -> list[str]:
        """Up to max(4, n) rewordings."""
        return list(self._said(question, n))

    def prepare(self) -> Callable[[str, int], list[str]]:
        """Load the model now, rather than at the first question."""
        if self._loaded is None:
            from balancedit.models.pocket.recipe.plain import plain_rephraser

            self._loaded = plain_rephraser()
        return self._loaded

    def _ask(self, question: str, n: int) -> tuple[str, ...]:
        return tuple(self.prepare()(question, n))
