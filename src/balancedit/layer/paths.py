"""Finding a layer in a model by its dotted path, and naming the likely ones if it is not there."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from balancedit.errors import LayerError, nearest_names


def resolve_layer(model: nn.Module, path: str) -> nn.Module:
    """The linear layer at `path`, e.g. ``model.language_model.layers.29.mlp.up_proj``.

    A layer counts as linear when it has a two-dimensional weight and maps the last dimension
    (`nn.Linear` and what wraps or quantises one). Raises `LayerError` naming the candidates.
    """
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        near = nearest_names(path, linear_layers(model), n=4)
        raise LayerError(f"no layer '{path}' in {type(model).__name__}{near}") from None
    check_unpacked(model, path)
    if path not in linear_layers(model):
        inside = [f"{path}.{n}" for n in linear_layers(layer)] if path else []
        near = nearest_names(path, inside or linear_layers(model), n=4)
        raise LayerError(
            f"'{path}' is a {type(layer).__name__}, not a linear layer, which is what can be "
            f"edited{near}"
        )
    return layer


#: What quantised layers that are no `nn.Linear` keep their weight in, and who makes such.
_PACKED = {
    "qweight": "AWQ or GPTQ",
    "weight_packed": "compressed-tensors",
    "W_q": "HQQ",
    "codes": "AQLM",
    "Qidxs": "QuIP#",
    "weight_scale_inv": "FP8",
    "weight_scale": "FP8",
}


def check_unpacked(model: nn.Module, path: str) -> None:
    """Raise `LayerError` where the layer at `path` is one whose weight is quantised in a form that
    cannot be edited; nothing where there is no layer, or another one."""
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        return
    if isinstance(layer, nn.Linear):
        return
    held = {name for name, _ in (*layer.named_parameters(recurse=False), *layer.named_buffers())}
    by = next((by for name, by in _PACKED.items() if name in held), None)
    if by is None:
        return
    raise LayerError(
        f"'{path}' is a {type(layer).__name__}, quantised by {by}: its weight is packed, and "
        "cannot be edited. What works: a checkpoint that keeps this one layer out of the "
        "quantisation (modules_to_not_convert), one that is not quantised, or loading that in 8 "
        "or 4 bits by bitsandbytes"
    )


def edited_path(model: nn.Module, path: str) -> str:
    """Where the layer that `path` names is in a model that may be wrapped in an adapter.

    PEFT puts its own modules around a model, so paths of the plain model lead there too; and around
    a linear layer: the layer inside is edited, and what the adapter adds stays beside the edit.
    """
    prefix = _wrapped_at(model)
    if prefix and not path.startswith(f"{prefix}."):
        path = f"{prefix}.{path}"
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        return path
    return f"{path}.base_layer" if callable(getattr(layer, "get_base_layer", None)) else path


def plain_path(model: nn.Module, path: str) -> str:
    """What `edited_path` leads to `path` from: the layer's path in the model without adapters."""
    prefix = _wrapped_at(model)
    return path.removeprefix(f"{prefix}." if prefix else "").removesuffix(".base_layer")


def _wrapped_at(model: nn.Module) -> str:
    """Where in a model that may be wrapped in an adapter the plain one is; "" where it is not."""
    unwrap: Any = getattr(model, "get_base_model", None)
    inner = unwrap() if callable(unwrap) else model
    return next(name for name, module in model.named_modules() if module is inner)


def ancestors(model: nn.Module, path: str) -> list[nn.Module]:
    """The modules from the model's root down to, not including, the one at `path`."""
    names = path.split(".")
    return [model.get_submodule(".".join(names[:i])) for i in range(len(names))]


def enclosing_stack(model: nn.Module, path: str) -> tuple[list[nn.Module], int]:
    """The blocks of the innermost numbered list that the layer at `path` lies in, and the number of
    its own block; ([], 0) where the path goes through no such list."""
    names = path.split(".")
    for at in range(len(names) - 1, 0, -1):
        stack = model.get_submodule(".".join(names[:at]))
        if isinstance(stack, nn.ModuleList):
            return list(stack), int(names[at])
    return [], 0


def linear_layers(model: nn.Module) -> list[str]:
    """Dotted paths of every linear layer, in the order of the modules."""
    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]


def edit_candidates(model: nn.Module) -> list[str]:
    """Layers worth editing where no table names one: the linear layers of the MLP of the last
    block in the longest numbered stack that is not part of a vision tower."""
    block = re.compile(r"^(.*)\.(\d+)\.(.*)$")
    stacks: dict[str, dict[int, list[str]]] = {}
    for path in linear_layers(model):
        match = block.match(path)
        if match and not re.search(r"vis(ion|ual)|image|qformer", path, re.IGNORECASE):
            stack, index, _ = match.groups()
            stacks.setdefault(stack, {}).setdefault(int(index), []).append(path)
    if not stacks:
        return []
    longest = max(stacks.values(), key=len)
    last = longest[max(longest)]
    mlp = [p for p in last if not re.search(r"attn|attention", p)]
    return mlp or last
