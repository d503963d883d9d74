"""Loading a model and its processor, by name, by path, or as an object the caller already has."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from balancedit.errors import LayerError, ModelLoadError, UnsupportedModelError, nearest_names
from balancedit.models.layers import edit_candidates, resolve_layer
from balancedit.models.prompting import Prompter
from balancedit.models.rephraser import Rephraser, backbone_rephraser
from balancedit.models.table import BUNDLED
from balancedit.replay import Prefix
from balancedit.vision import EncodedPictures, picture_encoders


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be edited, with what the editor needs to know about it.

    edit_lr: step size that suits this model's edits, used where a preset names none.
    rephraser: (question, n) -> up to n rewordings in the model's own words, or None.
    mend_network: file of the MEND network that comes with the model for this layer, or None.
    """

    name: str
    model: nn.Module
    prompter: Prompter
    layer: str
    edit_lr: float
    rephraser: Rephraser | None = None
    mend_network: Path | None = None
    pictures: EncodedPictures = field(init=False, repr=False, compare=False)
    prefix: Prefix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        encoders = picture_encoders(self.model, self.layer)
        object.__setattr__(self, "pictures", EncodedPictures(encoders))
        object.__setattr__(self, "prefix", Prefix(self.model, self.layer))

    def at(self, layer: str) -> LoadedModel:
        """The same model with another layer to edit, a dotted path. Raises `LayerError`."""
        resolve_layer(self.model, layer)
        return replace(self, layer=layer)

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model's weights, and of pixel values."""
        return next(self.model.parameters()).dtype

    def to_device(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Inputs where the model is; pixel values and the like in its type."""
        return {
            k: v.to(self.device, self.dtype) if v.is_floating_point() else v.to(self.device)
            for k, v in inputs.items()
        }

    @property
    def eos(self) -> int:
        """The token that ends an answer."""
        tokenizer = self.prompter.tokenizer
        own = getattr(tokenizer, "eos_token_id", None)
        ends = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        if own is not None and (not ends or own in ends):
            return int(own)
        if ends:
            return int(ends[0])
        raise ModelLoadError(f"'{self.name}' has no end-of-sequence token; set tokenizer.eos_token")

    @property
    def context_length(self) -> int | None:
        """Tokens the language model can attend to, where its configuration says."""
        config: Any = self.model.config
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        length = getattr(text, "max_position_embeddings", None)
        return int(length) if length else None

    def fingerprint(self) -> str:
        """SHA-256 of the configuration and of the edited layer's weights: what edits depend on."""
        config: Any = self.model.config
        kept = {k: v for k, v in config.to_dict().items() if k not in _VOLATILE}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
        layer = resolve_layer(self.model, self.layer)
        for name, value in sorted(layer.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


#: Parts of a configuration that change without the model's answers changing.
_VOLATILE = frozenset({"_name_or_path", "transformers_version", "architectures", "dtype"})

#: Step size of an edit where neither preset, table nor caller says: the authors' code multiplies
#: its 0.01 by 0.01 (docs/concepts.md).
DEFAULT_LR = 1e-4


def load_model(
    model: str | Path | nn.Module,
    *,
    processor: Any = None,
    layer: str | None = None,
    prompt: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
) -> LoadedModel:
    """Load a bundled model ("pocket"), a hub name, a local directory, or wrap a loaded model.

    layer: dotted path of the linear layer to edit; needed where no table names one. prompt: format
    string for models without a chat template. Raises `ModelLoadError`, `UnsupportedModelError` or
    `LayerError`, each naming the remedy.
    """
    lr: float = DEFAULT_LR
    rephraser: Rephraser | None = None
    network: Path | None = None
    if isinstance(model, str) and model in BUNDLED:
        bundled = BUNDLED[model]
        loaded, processor = bundled.load(_dtype(dtype) or torch.float32, str(device or "cpu"))
        name, layer, lr = model, layer or bundled.layer, bundled.edit_lr
        rephraser = bundled.rephraser()
        network = bundled.mend_network if layer == bundled.layer else None
    elif isinstance(model, nn.Module):
        loaded = model
        _check_supported(model, type(model).__name__)
        name = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
        if processor is None:
            processor = _processor(name)
        if device is not None:
            loaded = loaded.to(device)
    else:
        name = str(model)
        loaded = _from_pretrained(name, device, _dtype(dtype))
        processor = processor if processor is not None else _processor(name)
    _check_supported(loaded, name)
    prompter = Prompter(processor, template=prompt)
    layer = layer or _default_layer(loaded, name)
    resolve_layer(loaded, layer)
    loaded.eval()
    if rephraser is None:
        rephraser = backbone_rephraser(loaded, prompter)
    return LoadedModel(name, loaded, prompter, layer, lr, rephraser, network)


def _from_pretrained(name: str, device: Any, dtype: torch.dtype | None) -> nn.Module:
    from transformers import AutoModelForImageTextToText

    if not Path(name).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ModelLoadError(
            f"no model '{name}'{nearest_names(name, BUNDLED)}; give one of those, a directory, or "
            "a hub name such as org/model"
        )
    try:
        model: nn.Module = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype or "auto")
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(
            f"cannot load '{name}': {first} (check the name, or download it and give its directory)"
        ) from error
    return model.to(device) if device is not None else model


def _processor(name: str) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(
            f"cannot load a processor for '{name}': {first}; pass processor="
        ) from error


def _check_supported(model: nn.Module, name: str) -> None:
    config = getattr(model, "config", None)
    if config is None or not callable(getattr(model, "generate", None)):
        raise UnsupportedModelError(
            f"'{name}' is a {type(model).__name__}, not a transformers model that generates text"
        )
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"'{name}' ({type(model).__name__}) is an encoder-decoder model; editing needs one "
            "whose prompt and answer run through one decoder"
        )


def _default_layer(model: nn.Module, name: str) -> str:
    candidates = edit_candidates(model)
    hint = f"; likely ones: {', '.join(candidates[:4])}" if candidates else ""
    raise LayerError(f"no edit layer is known for '{name}'; name one with layer={hint}")


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    names = {"float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}
    names |= {"float16": "float16", "fp16": "float16"}
    if dtype not in names:
        raise ModelLoadError(f"unknown dtype '{dtype}'{nearest_names(dtype, names)}")
    return getattr(torch, names[dtype])
