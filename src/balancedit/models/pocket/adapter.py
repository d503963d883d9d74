"""What training adds to the frozen parts: the projector and a LoRA, one small safetensors file.

Names: ``projector.*`` as in `PocketProjector`; ``lora.PATH.a`` (R, in) and ``lora.PATH.b`` (out,
R) for the language model's linear layer at PATH, R the rank. Half precision but for the feature
statistics.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from balancedit.errors import ModelLoadError

RANK = 8
SCALE = 2.0  # weight of the low-rank product (LoRA's alpha over its rank)
_EXACT = ("projector.mean", "projector.std", "projector.evidence", "projector.doubt")


V1, V2 = "adapter", "adapter-v2"  # the shipped ones: of drawings alone, of photographs too


def shipped(name: str = V1) -> Path:
    """An adapter that comes with the package."""
    return Path(str(files("balancedit.models.pocket") / "assets" / f"{name}.safetensors"))


def save(path: Path, projector: nn.Module, lora: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Write an adapter; lora: layer path -> (a, b)."""
    learned = getattr(projector, "learned", projector.state_dict)()
    tensors = {f"projector.{k}": v for k, v in learned.items()}
    for layer, (a, b) in lora.items():
        tensors[f"lora.{layer}.a"], tensors[f"lora.{layer}.b"] = a, b
    kept = {
        k: v.detach().to(torch.float32 if k in _EXACT else torch.float16).contiguous()
        for k, v in tensors.items()
    }
    partial = path.with_suffix(".partial")
    save_file(kept, partial, metadata={"rank": str(RANK), "scale": str(SCALE)})
    partial.replace(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
    """An adapter as (projector state, layer path -> (a, b)), float32. Raises `ModelLoadError`."""
    try:
        tensors = {k: v.float() for k, v in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(
            f"pocket's adapter '{path}' cannot be read ({error}); reinstall balancedit"
        ) from error
    projector = {
        k.removeprefix("projector."): v for k, v in tensors.items() if k.startswith("projector.")
    }
    layers = sorted({k[len("lora.") : -2] for k in tensors if k.startswith("lora.")})
    return projector, {n: (tensors[f"lora.{n}.a"], tensors[f"lora.{n}.b"]) for n in layers}


@torch.no_grad()
def merge(language_model: nn.Module, lora: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Add each low-rank product to its layer's weight, in place.

    In double precision, so that the order in which a machine adds up does not reach the weight's
    last bits: edits made on one machine must fit the model on another.
    """
    for path, (a, b) in lora.items():
        layer = language_model.get_submodule(path)
        assert isinstance(layer, nn.Linear)
        merged = layer.weight.double() + SCALE * (b.double() @ a.double())
        layer.weight.copy_(merged)
