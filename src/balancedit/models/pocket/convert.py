"""Making the pocket model from its parts, once, and keeping it in the user's cache.

The converted model is an ordinary directory that `from_pretrained` reads. It is written under a
temporary name and renamed when whole, so a killed conversion leaves nothing that is taken for a
model, and two processes that start at once do no harm to each other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from balancedit.errors import ModelLoadError
from balancedit.files.cache import cache_dir
from balancedit.models.pocket import adapter, sources
from balancedit.models.pocket.concept_projector import SLOTS, ConceptProjector
from balancedit.models.pocket.configuration import PocketConfig
from balancedit.models.pocket.modeling import PocketForConditionalGeneration
from balancedit.models.pocket.processing import (
    CHAT_TEMPLATE,
    IMAGE_TOKEN,
    PocketImageProcessor,
    PocketProcessor,
)
from balancedit.models.quiet import quiet

FORMAT = 2  # raise when the conversion below changes
MODEL, PLAIN = "model", "language_model"  # folders of a converted model


def revision(path: Path | None = None) -> str:
    """Twelve hex digits that change with the adapter, the wheels or the conversion."""
    digest = hashlib.sha256((path or adapter.shipped()).read_bytes())
    digest.update(json.dumps([FORMAT, sources.versions()], sort_keys=True).encode())
    return digest.hexdigest()[:12]


def ensure(path: Path | None = None) -> Path:
    """The folder of the converted model, made first if it is not there.

    path: another adapter than the shipped one. Raises `ModelLoadError` when a part is missing or
    the cache cannot be written.
    """
    path = path or adapter.shipped()
    if not path.is_file():
        raise ModelLoadError(f"pocket's adapter '{path}' is missing; reinstall balancedit")
    target = cache_dir() / f"pocket-{revision(path)}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    except OSError as error:
        raise ModelLoadError(_unwritable(target.parent, error)) from error
    try:
        _write(partial, path)
        partial.rename(target)
    except OSError as error:
        if not target.is_dir():  # another process may have finished first
            raise ModelLoadError(_unwritable(target.parent, error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unwritable(folder: Path, error: OSError) -> str:
    return (
        f"cannot write the converted model to '{folder}' ({error.strerror or error}); free 1 GB "
        "there, or set BALANCEDIT_CACHE to another folder"
    )


def build(path: Path) -> tuple[PocketForConditionalGeneration, PocketProcessor, LlamaForCausalLM]:
    """The model with an adapter's projector and LoRA, its processor, and the plain language model
    (half precision) from which it was made; all on the CPU."""
    projector, lora = adapter.load(path)
    plain: Any = sources.language_model()
    tokenizer = sources.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    concepts = "known.weight" in projector
    config = PocketConfig(
        text_config=plain.config.to_dict(),
        projector_size=len(projector["linear_1.bias"]),
        summary_tokens=SLOTS if concepts else 6,
        summary_words=1 if concepts else len(projector["words"]),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        concepts=concepts,
    )
    model = PocketForConditionalGeneration(config).eval()
    model.model.language_model.load_state_dict(plain.model.state_dict())
    model.tie_weights()
    model.model.vision_tower.backbone.load_state_dict(sources.vision_weights())
    made = model.model.multi_modal_projector
    if isinstance(made, ConceptProjector):
        embedding = plain.get_input_embeddings().weight.detach()
        made.load_state_dict(made.state_dict() | projector)
        made.complete(sources.vision_classifier(), tokenizer, embedding)
    else:
        made.load_state_dict(projector)
    adapter.merge(model.model.language_model, lora)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = PocketProcessor(
        image_processor=PocketImageProcessor(),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
        image_tokens=config.image_tokens,
    )
    return model, processor, plain.to(torch.float16)


def _write(folder: Path, path: Path) -> None:
    model, processor, plain = build(path)
    with quiet():
        model.save_pretrained(folder / MODEL)
        processor.save_pretrained(folder / MODEL)
        plain.save_pretrained(folder / PLAIN)
