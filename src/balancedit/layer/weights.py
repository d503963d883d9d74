"""The weight of a linear layer as numbers, and where the layer runs, however it is stored: in any
floating type, quantised by bitsandbytes, or offloaded by accelerate.

Letters: D = the layer's input width, O = its output width.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn

from balancedit.errors import LayerError, first_line

_FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def float_weight(layer: nn.Module) -> torch.Tensor:
    """(O, D) the layer's weight, as a float32 copy where the layer runs.

    Raises `LayerError` for a weight stored in a way that is not known here, or that cannot be read.
    """
    with align_module_device(layer):  # brings in what is offloaded, and lets it go again
        weight: Any = layer.weight
        kind = type(weight).__name__
        if kind in ("Params4bit", "Int8Params"):
            return _dequantised(layer, weight).to(torch.float32, copy=True)
        if tuple(weight.shape) != weight_shape(layer) or weight.dtype not in _FLOATING:
            raise LayerError(
                f"the weight of this {type(layer).__name__} is stored as {kind} of "
                f"{weight.dtype}, which cannot be edited; keep this one layer out of the "
                "quantisation (modules_to_not_convert), or load the model with bitsandbytes"
            )
        return weight.detach().to(torch.float32, copy=True)


def float_bias(layer: nn.Module) -> torch.Tensor | None:
    """(O,) the layer's bias in float32 where the layer runs; None where it has none."""
    with align_module_device(layer):
        bias: torch.Tensor | None = layer.bias  # type: ignore[assignment]
        return None if bias is None else bias.detach().float()


def weight_shape(layer: nn.Module) -> tuple[int, int]:
    """(O, D), also where the weight is packed."""
    return int(layer.out_features), int(layer.in_features)  # type: ignore[arg-type]


def keep_unpacked(model: nn.Module) -> None:
    """Have bitsandbytes leave 4-bit weights as they are stored, on a processor too.

    Where it finds AVX-512 with bfloat16 it packs a weight at the layer's first pass: no gradient
    goes through a packed weight, so nothing before it could be edited; only its own kernel can read
    one; and only widths that fill its tiles can be packed at all. Weights packed already are
    unpacked, their scales as bfloat16 left them.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
            _unpack(module)


def _unpack(layer: Any) -> None:
    state: Any = getattr(layer.weight, "quant_state", None)
    if not getattr(state, "packing_format_for_cpu", False):
        return
    from bitsandbytes.functional import _convert_weight_packed_for_cpu_inverse

    scales = state.absmax.T.flatten().float()  # the function below gives back nested ones alone
    layer.weight.data, state = _convert_weight_packed_for_cpu_inverse(layer.weight.data, state)
    if not state.nested:
        state.absmax = scales
    layer.weight.quant_state = state


def running_device(module: nn.Module) -> torch.device:
    """Where a module computes: its weights' device, or where accelerate brings them."""
    hook: Any = getattr(module, "_hf_hook", None)
    for one in (hook, *getattr(hook, "hooks", ())):
        device = getattr(one, "execution_device", None)
        if device is not None:
            return torch.device(device)
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def _dequantised(layer: nn.Module, weight: Any) -> torch.Tensor:
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    try:
        with torch.no_grad():
            return dequantize_bnb_weight(weight, getattr(layer, "state", None)).detach()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # its kernels raise nearly anything
        raise LayerError(
            f"bitsandbytes cannot give the weight of this {type(layer).__name__} as numbers "
            f"({first_line(error)}); keep this one layer out of the quantisation "
            "(llm_int8_skip_modules)"
        ) from error
