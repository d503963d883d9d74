"""Loading a model's processor, also where its video part cannot be built.

Several processors refuse to be made without torchvision although only their video part needs it.
Here they are composed of what pictures and text need, on Pillow: same class, same prompts, no
videos.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from transformers import AutoConfig, AutoProcessor, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available

from balancedit.errors import ModelLoadError
from balancedit.models.architectures import ARCHITECTURES
from balancedit.models.weights import why_not
from balancedit.tables import named


def chat_template(processor: Any) -> Any:
    """The chat template that a processor, or its tokenizer, brings; None where neither does."""
    of = (processor, getattr(processor, "tokenizer", None))
    return next((t for p in of if (t := getattr(p, "chat_template", None))), None)


def load_processor(name: str) -> Any:
    """The processor of a hub name or directory, without its video part where torchvision is
    missing. Raises `ModelLoadError`."""
    try:
        kind = AutoProcessor if is_torchvision_available() else _without_torchvision(name)
        return kind.from_pretrained(name)
    except Exception as error:  # tokenizers raise plain ones about a damaged file
        said = why_not(name, error, "a processor for ")
        raise ModelLoadError(f"{said}; or pass processor=") from error


def _without_torchvision(name: str) -> Any:
    """What reads the processor of a hub name or directory where torchvision is missing."""
    config = AutoConfig.from_pretrained(name)
    known = ARCHITECTURES.get(config.model_type)
    if known is not None and known.processor is not None:
        return named(known.processor)
    if type(config) not in PROCESSOR_MAPPING:
        return AutoProcessor
    kind: Any = PROCESSOR_MAPPING[type(config)]
    return without_video(kind) if "video_processor" in kind.get_attributes() else AutoProcessor


class _NoVideo(ProcessorMixin):
    """What a processor class inherits, behind its own methods, to do without a video part."""

    #: SmolVLM hands these on with every prompt, for videos to use.
    video_processor = SimpleNamespace(num_frames=None, fps=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("video_processor", None)
        super().__init__(*args, **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts, in the order of the constructor's arguments."""
        return [part for part in super().get_attributes() if part != "video_processor"]

    @classmethod
    def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
        # The video part is the last one in every constructor, and some give it no default.
        return [*super()._get_arguments_from_pretrained(*args, **kwargs), None]


def without_video(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """A processor class that is `kind` for pictures and text. Its constructor takes None where
    `kind` takes a video processor, and it saves and loads as `kind` does."""
    return type(kind.__name__, (kind, _NoVideo), {"__module__": kind.__module__})
