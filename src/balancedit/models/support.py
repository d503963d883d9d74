"""Which models can be edited: refusals by name, before any weights are read where possible."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from balancedit.errors import UnsupportedModelError
from balancedit.layer.compiled import check_not_compiled


def check_config(config: Any, name: str) -> None:
    """Raise `UnsupportedModelError` for a configuration whose models cannot be edited."""
    kind = type(config).__name__.removesuffix("Config")
    if config.is_encoder_decoder or config.get_text_config().is_encoder_decoder:
        raise UnsupportedModelError(
            f"'{name}' ({kind}) is an encoder-decoder model, or has one for its language model; "
            "editing needs one whose prompt and answer run through one decoder, such as BLIP-2 "
            "with OPT or InstructBLIP with Vicuna"
        )


def check_takes_pictures(config: Any, name: str) -> None:
    """Raise `UnsupportedModelError` where transformers has no image-text-to-text class for a
    configuration."""
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise UnsupportedModelError(
            f"'{name}' ({type(config).__name__.removesuffix('Config')}) takes no pictures, or none "
            "that transformers knows of; give an image-text-to-text model"
        )


def check_model(model: nn.Module, name: str) -> None:
    """Raise `UnsupportedModelError` for a model that does not generate text from pictures, that
    was compiled, or whose weights allow no learning."""
    config: Any = getattr(model, "config", None)
    if config is None or not callable(getattr(model, "generate", None)):
        raise UnsupportedModelError(
            f"'{name}' is a {type(model).__name__}, not a transformers model that generates text"
        )
    check_not_compiled(model.modules())
    if any(p.is_inference() for p in model.parameters()):
        raise UnsupportedModelError(
            f"'{name}' was loaded inside torch.inference_mode, and nothing can be learned through "
            "such weights; load it outside"
        )
    check_config(config, name)
    if "image" not in getattr(model, "input_modalities", ()):
        raise UnsupportedModelError(
            f"'{name}' ({type(model).__name__}) takes no pictures; give an image-text-to-text model"
        )
