"""Loading a model and its processor, by name, by path, or as an object the caller already has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from balancedit.codebook.exact import exactly
from balancedit.errors import BalanceditError, LayerError, ModelLoadError, nearest_names
from balancedit.files.names import is_directory
from balancedit.layer.old_answers import OldAnswers
from balancedit.layer.paths import (
    check_unpacked,
    edit_candidates,
    edited_path,
    linear_layers,
    resolve_layer,
)
from balancedit.layer.weights import keep_unpacked, running_device
from balancedit.learning.answer_path import AnswerPath
from balancedit.models import minigpt4, pocket
from balancedit.models.architectures import ARCHITECTURES, Architecture
from balancedit.models.bundled import BUNDLED
from balancedit.models.identity import fingerprint, former_fingerprint, rendered
from balancedit.models.processors import chat_template, load_processor
from balancedit.models.prompting import Prompter
from balancedit.models.rephraser import backbone_rephraser
from balancedit.models.support import check_config, check_model, check_takes_pictures
from balancedit.models.weights import load_weights, why_not
from balancedit.prefill.encodings import EncodedPictures, picture_encoders
from balancedit.prefill.prefix import Prefix
from balancedit.scope.rephrasing import Rephraser


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be edited, with what the editor needs to know about it.

    edit_lr, low_rank_lr: step sizes that suit this model's edits with a full weight and with
    factors (`learning/low_rank.py`), used where a preset names none.
    rephraser: (question, n) -> up to n rewordings in the model's own words, or None.
    mend_network: file of the MEND network that comes with the model for this layer, or None.
    """

    name: str
    model: nn.Module
    prompter: Prompter
    layer: str
    edit_lr: float
    low_rank_lr: float
    rephraser: Rephraser | None = None
    mend_network: Path | None = None
    pictures: EncodedPictures = field(init=False, repr=False, compare=False)
    prefix: Prefix = field(init=False, repr=False, compare=False)
    answers: AnswerPath = field(init=False, repr=False, compare=False)
    old_answers: OldAnswers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        encoders = picture_encoders(self.model, self.layer)
        object.__setattr__(self, "pictures", EncodedPictures(encoders))
        object.__setattr__(self, "prefix", Prefix(self.model, self.layer))
        object.__setattr__(self, "answers", AnswerPath(self.model, self.layer))
        object.__setattr__(self, "old_answers", OldAnswers(self.prompter.input_names))

    def at(self, layer: str) -> LoadedModel:
        """The same model with another layer to edit, a dotted path. Raises `LayerError`."""
        resolve_layer(self.model, layer)
        return replace(self, layer=layer)

    @property
    def device(self) -> torch.device:
        """Where inputs go; parts of the model may be elsewhere."""
        model: Any = self.model
        return running_device(model.get_input_embeddings())

    @property
    def dtype(self) -> torch.dtype:
        """The type of pixel values: that of the word embeddings, which quantisation leaves alone
        and models with a part kept in float32 hold in their own type."""
        model: Any = self.model
        return model.get_input_embeddings().weight.dtype

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
    def ends(self) -> frozenset[int]:
        """The tokens at which the model's own answers end."""
        own = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        return frozenset({self.eos, *([own] if isinstance(own, int) else own or [])})

    @property
    def context_length(self) -> int | None:
        """Tokens the language model can attend to, where its configuration says."""
        config: Any = self.model.config
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        length = getattr(text, "max_position_embeddings", None)
        return int(length) if length else None

    def fingerprint(self, *layers: str) -> str:
        """SHA-256 of the edited layer's weights and those of further layers, at dotted paths, with
        what adapters add: see `models/identity.py`. Raises `LayerError`."""
        return fingerprint(self.model, [self.layer, *layers])

    def former_fingerprint(self) -> str:
        """The same as versions before format 4 of the store had it."""
        return former_fingerprint(self.model, self.layer)

    def rendered(self) -> dict[str, str]:
        """What the processor makes of a probe prompt and of probe pictures, in words."""
        return rendered(self.prompter)


#: Step size of an edit where neither preset, table nor caller says: the authors' code multiplies
#: its 0.01 by 0.01 (docs/concepts.md).
DEFAULT_LR = 1e-4

#: The same of an edit with factors. It is a share of the layer's own outputs, so one number suits
#: models of any scale (docs/concepts.md).
DEFAULT_LOW_RANK_LR = 0.05


@exactly(gradients=True)
def load_model(
    model: str | Path | nn.Module,
    *,
    processor: Any = None,
    layer: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
) -> LoadedModel:
    """Load a bundled model ("pocket"), a hub name, a local directory, or wrap a loaded model.

    layer: dotted path of the linear layer to edit; needed where no table names one. prompt: format
    string for models without a chat template. system: a system message, for a chat template that
    takes one. device: "auto" spreads a model over all devices. Raises `ModelLoadError`,
    `UnsupportedModelError` or `LayerError`, each naming the remedy.
    """
    lr: float | None = None
    low_rank_lr = DEFAULT_LOW_RANK_LR
    rephraser: Rephraser | None = None
    network: Path | None = None
    if isinstance(model, str) and model in BUNDLED:
        bundled = BUNDLED[model]
        loaded, processor = bundled.load(_dtype(dtype) or torch.float32, _one_device(device))
        name, layer = model, layer or bundled.layer
        lr, low_rank_lr = bundled.edit_lr, bundled.low_rank_lr
        rephraser = bundled.rephraser()
        network = bundled.mend_network if layer == bundled.layer else None
    elif isinstance(model, nn.Module):
        check_model(model, type(model).__name__)
        loaded = model if device is None else _moved(model, device)
        name = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
        if processor is None:
            processor = load_processor(name)
    else:
        name = str(model)
        loaded = _from_pretrained(name, device, _dtype(dtype))
        check_model(loaded, name)
        processor = processor if processor is not None else load_processor(name)
    known = ARCHITECTURES.get(loaded.config.model_type)
    layer = edited_path(loaded, layer or _default_layer(loaded, name, known))
    resolve_layer(loaded, layer)
    loaded.eval()
    keep_unpacked(loaded)
    prompter = _prompter(processor, name, known, prompt, system)
    if rephraser is None:
        rephraser = backbone_rephraser(loaded, prompter)
    if lr is None:
        lr = known.edit_lr if known is not None and known.edit_lr is not None else DEFAULT_LR
    return LoadedModel(name, loaded, prompter, layer, lr, low_rank_lr, rephraser, network)


def _prompter(
    processor: Any, name: str, known: Architecture | None, prompt: str | None, system: str | None
) -> Prompter:
    """Prompts as the caller words them, else as the chat template does, else as the table."""
    if known is None:
        return Prompter(processor, template=prompt, system=system, model=f"'{name}'")
    if prompt is None and chat_template(processor) is None:
        prompt = known.prompt
    spaced = prompt is not None and prompt[-1:].isspace()
    return Prompter(
        processor,
        template=prompt,
        system=system,
        answer_prefix="" if spaced else known.answer_prefix,
        answer_end=known.answer_end,
        needs_image=known.needs_image,
        most_images=known.most_images,
        model=f"'{name}' ({known.name})",
    )


def _from_pretrained(name: str, device: Any, dtype: torch.dtype | None) -> Any:
    from transformers import AutoConfig, AutoModelForImageTextToText

    if not is_directory(Path(name)) and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ModelLoadError(
            f"no model '{name}'{nearest_names(name, BUNDLED)}; give one of those, a directory, or "
            "a hub name such as org/model"
        )
    pocket.register()
    minigpt4.register()
    spread = {"device_map": "auto"} if str(device) == "auto" else {}
    try:
        config = AutoConfig.from_pretrained(name)
        check_config(config, name)
        check_takes_pictures(config, name)
    except BalanceditError:
        raise
    except Exception as error:  # configurations may bring code of their own
        raise ModelLoadError(why_not(name, error)) from error
    model = load_weights(AutoModelForImageTextToText, name, dtype=dtype or "auto", **spread)
    return model if device is None or spread else _moved(model, device)


def _moved(model: nn.Module, device: str | torch.device) -> nn.Module:
    """The model on one device. Raises `ModelLoadError` for one that cannot be moved."""
    try:
        return model.to(_one_device(device))
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise ModelLoadError(
            f"this {type(model).__name__} cannot be moved to '{device}' ({error}); leave device "
            "out for a model that is quantised or spread over devices"
        ) from error


def _one_device(device: str | torch.device | None) -> str:
    """A single device; "auto" is the first GPU where there is one."""
    if str(device or "cpu") != "auto":
        return str(device or "cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _default_layer(model: nn.Module, name: str, known: Architecture | None) -> str:
    """The layer the table names. Raises `LayerError`, naming candidates, where it names none."""
    if known is not None:
        ending = f".{known.blocks}"
        for path, blocks in model.named_modules():
            if path == known.blocks or path.endswith(ending):
                around = path.removesuffix(known.blocks)
                layer = around + known.layer_path(len(blocks))
                check_unpacked(model, edited_path(model, layer))
                if edited_path(model, layer) in linear_layers(model):
                    return layer
    candidates = edit_candidates(model)
    hint = f"; likely ones: {', '.join(candidates[:4])}" if candidates else ""
    raise LayerError(f"no edit layer is known for '{name}'; name one with layer={hint}")


def dtype_named(name: str) -> torch.dtype:
    """The type of a name such as "bfloat16" or "bf16". Raises `ModelLoadError`."""
    names = {"float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}
    names |= {"float16": "float16", "fp16": "float16"}
    if name not in names:
        raise ModelLoadError(f"unknown dtype '{name}'{nearest_names(name, names)}")
    return getattr(torch, names[name])


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    return dtype_named(dtype) if isinstance(dtype, str) else dtype
