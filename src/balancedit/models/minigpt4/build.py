"""Building MiniGPT-4 from its published parts, once, into an ordinary model folder.

- a BLIP-2 checkpoint: vision tower, Q-Former and query tokens are taken from it. The published
  projections were trained on those of `Salesforce/blip2-flan-t5-xxl`;
- a Vicuna, as a folder or hub name of transformers;
- the published projection, a `.pth` file with `llama_proj.weight` and `llama_proj.bias`, as such or
  under "model".

The folder is written under a temporary name and renamed when whole, so a build that was killed
leaves nothing that is taken for a model.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    Blip2Config,
    Blip2PreTrainedModel,
    Blip2QFormerModel,
    Blip2VisionModel,
)

from balancedit.errors import ModelLoadError
from balancedit.models.minigpt4.configuration import MiniGPT4Config
from balancedit.models.minigpt4.modeling import MiniGPT4ForConditionalGeneration
from balancedit.models.minigpt4.processing import IMAGE_TOKEN, MiniGPT4Processor
from balancedit.models.quiet import quiet

_WEIGHT, _BIAS = "llama_proj.weight", "llama_proj.bias"
_SEPARATOR = "###"  # what the published models write behind an answer


class _Blip2Eyes(Blip2PreTrainedModel):
    """The parts of BLIP-2 in front of its language model, for `from_pretrained` to read alone."""

    _keep_in_fp32_modules = ["query_tokens", "qformer"]  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected = ["^language_"]  # noqa: RUF012

    def __init__(self, config: Blip2Config) -> None:
        super().__init__(config)
        self.vision_model = Blip2VisionModel._from_config(config.vision_config)
        width = config.qformer_config.hidden_size  # type: ignore[union-attr]
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, width))
        self.qformer = Blip2QFormerModel._from_config(config.qformer_config)
        self.post_init()


def build(
    blip2: str | Path,
    language_model: str | Path,
    projection: Path,
    out: Path,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Make the folder `out` of its parts, weights as safetensors. Needs memory for the whole model.

    Raises `ModelLoadError`, naming the part, when one is missing, incomplete or does not fit the
    others, or when `out` cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelLoadError(f"'{out}' exists already; give the model a new folder")
    weight, bias = read_projection(projection)
    eyes: Any = _loaded(_Blip2Eyes, blip2, "BLIP-2 checkpoint", dtype)
    words: Any = _loaded(AutoModelForCausalLM, language_model, "language model", dtype)
    _check_fits(projection, weight, bias, eyes, words)
    tokenizer, pictures = _processing(blip2, language_model)
    model = _assembled(eyes, words, weight.to(dtype), bias.to(dtype), tokenizer)
    processor = MiniGPT4Processor(pictures, tokenizer, num_query_tokens=eyes.query_tokens.shape[1])
    _write(out, model, processor)
    return out


def read_projection(path: Path) -> tuple[Tensor, Tensor]:
    """The (D, F) weight and (D,) bias of a published projection; D, F: widths of the language model
    and the Q-Former. Tensors only are read: pickled code is refused, and never run.

    Raises `ModelLoadError`.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelLoadError(f"there is no projection '{path}'; download the .pth file") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(
            f"the projection '{path}' cannot be read ({message[:120]}); download the .pth file "
            "again"
        ) from error
    inner = held.get("model", held) if isinstance(held, dict) else {}
    inner = inner if isinstance(inner, dict) else {}
    missing = [k for k in (_WEIGHT, _BIAS) if not isinstance(inner.get(k), Tensor)]
    if missing:
        raise ModelLoadError(
            f"the projection '{path}' lacks {' and '.join(missing)}; give a MiniGPT-4 checkpoint, "
            "such as pretrained_minigpt4_7b.pth"
        )
    weight, bias = inner[_WEIGHT], inner[_BIAS]
    if weight.dim() != 2 or bias.shape != weight.shape[:1]:
        raise ModelLoadError(
            f"the projection '{path}' has a weight of shape {tuple(weight.shape)} and a bias of "
            f"{tuple(bias.shape)}, which do not belong together"
        )
    return weight, bias


def _loaded(kind: Any, name: str | Path, what: str, dtype: torch.dtype) -> Any:
    """A part with all its weights. Raises `ModelLoadError`, naming what is missing."""
    try:
        with quiet():
            part, info = kind.from_pretrained(str(name), dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(f"cannot load the {what} '{name}': {message}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelLoadError(f"the {what} '{name}' lacks {_some(missing)}")
    return part


def _some(names: Iterable[str], n: int = 4) -> str:
    listed = list(names)
    more = f" and {len(listed) - n} more" if len(listed) > n else ""
    return ", ".join(listed[:n]) + more


def _check_fits(path: Path, weight: Tensor, bias: Tensor, eyes: Any, words: Any) -> None:
    wanted = (words.config.hidden_size, eyes.config.qformer_config.hidden_size)
    if tuple(weight.shape) != wanted:
        raise ModelLoadError(
            f"the projection '{path}' leads from {weight.shape[1]} to {weight.shape[0]} features, "
            f"the Q-Former has {wanted[1]} and the language model {wanted[0]}; take the projection "
            "made for this Vicuna (7B: 4096, 13B: 5120)"
        )


def _processing(blip2: str | Path, language_model: str | Path) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(language_model))
        pictures = AutoImageProcessor.from_pretrained(str(blip2))
    except (OSError, ValueError) as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(
            f"cannot load the tokenizer of '{language_model}' or the image processor of "
            f"'{blip2}': {message}"
        ) from error
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer, pictures


def _assembled(eyes: Any, words: Any, weight: Tensor, bias: Tensor, tokenizer: Any) -> Any:
    config = MiniGPT4Config(
        vision_config=eyes.config.vision_config,
        qformer_config=eyes.config.qformer_config,
        text_config=words.config,
        num_query_tokens=eyes.query_tokens.shape[1],
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        dtype=words.dtype,
    )
    with torch.device("meta"):
        model: Any = MiniGPT4ForConditionalGeneration(config)
    model.vision_model, model.qformer = eyes.vision_model, eyes.qformer
    model.query_tokens, model.language_model = eyes.query_tokens, words
    model.llama_proj = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    model.llama_proj.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *_ends(tokenizer)]
    return model.eval()


def _ends(tokenizer: Any) -> list[int]:
    """The last tokens of "###", alone and behind a word: the published models end answers so."""
    texts = (_SEPARATOR, f"a{_SEPARATOR}")
    return sorted({tokenizer(t, add_special_tokens=False)["input_ids"][-1] for t in texts})


def _write(out: Path, model: Any, processor: Any) -> None:
    partial = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=out.parent))
        with quiet():
            model.save_pretrained(partial)
        processor.save_pretrained(partial)
        if out.exists():
            out.rmdir()  # empty, as checked
        partial.rename(out)
    except OSError as error:
        raise ModelLoadError(
            f"cannot write the model to '{out}' ({error.strerror or error}); free space there, or "
            "give another folder"
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
