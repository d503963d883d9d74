"""Editing methods by name, each in a file or folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from balancedit.errors import InputError, nearest_names
from balancedit.methods import balancedit, ft, grace, ike, mend
from balancedit.methods.protocol import EditRequest, LearnedEdit, Method
from balancedit.models.loading import LoadedModel

__all__ = [
    "METHODS",
    "EditRequest",
    "LearnedEdit",
    "Method",
    "MethodConfig",
    "configure",
    "make_method",
]

#: A method's settings: a frozen dataclass of its own, which checks itself when it is made.
MethodConfig = (
    balancedit.BalancEditConfig | ft.FTConfig | grace.GraceConfig | ike.IKEConfig | mend.MendConfig
)

#: name -> (makes the method, presets); a new method adds a line (docs/extending.md).
METHODS: dict[str, tuple[Callable[[LoadedModel, Any], Method], Mapping[str, MethodConfig]]] = {
    "balancedit": (balancedit.BalancEdit, balancedit.PRESETS),
    "ft": (ft.make, ft.PRESETS),
    "grace": (grace.Grace, grace.PRESETS),
    "ike": (ike.IKE, ike.PRESETS),
    "mend": (mend.make, mend.PRESETS),
}


def configure(method: str, preset: str, options: dict[str, Any]) -> MethodConfig:
    """A preset of a method with single options changed. Raises `InputError` with nearest names."""
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest_names(method, METHODS)}")
    presets = METHODS[method][1]
    if preset not in presets:
        raise InputError(f"unknown preset '{preset}' of {method}{nearest_names(preset, presets)}")
    known = [f.name for f in fields(presets[preset])]
    for name in options:
        if name not in known:
            raise InputError(f"{method} has no option '{name}'{nearest_names(name, known)}")
    return replace(presets[preset], **options)


def make_method(method: str, config: MethodConfig, loaded: LoadedModel) -> Method:
    """A method bound to a loaded model."""
    return METHODS[method][0](loaded, config)
