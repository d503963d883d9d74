"""Modules that `torch.compile` stands in for, which hooks set later may not reach."""

from __future__ import annotations

from typing import Any

from torch import nn

from balancedit.errors import UnsupportedModelError


def is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile` stands in for a module's code."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def check_not_compiled(modules: Any) -> None:
    """Raise `UnsupportedModelError` if one of these modules was compiled: compiled code may leave
    out hooks that are set later, so edits would be passed over in silence."""
    for module in modules:
        if is_compiled(module):
            raise UnsupportedModelError(
                "this model was compiled with torch.compile, which edits cannot reach into; give "
                "the model as it was before (compiled._orig_mod)"
            )
