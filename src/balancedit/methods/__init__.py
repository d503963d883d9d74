"""Editing methods by name, each in a file or folder of its own."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from balancedit.errors import InputError, nearest_names
from balancedit.methods.protocol import (
    EditRequest,
    LearnedEdit,
    Method,
    MethodConfig,
    OfferedMethod,
)
from balancedit.models.loading import LoadedModel
from balancedit.tables import named

__all__ = [
    "METHODS",
    "EditRequest",
    "LearnedEdit",
    "Method",
    "MethodConfig",
    "OfferedMethod",
    "configure",
    "make_method",
    "offered",
]

#: name -> where the method is (`OfferedMethod`); a new one adds a line (docs/extending.md).
METHODS: dict[str, str] = {
    "balancedit": "balancedit.methods.balancedit:METHOD",
    "ft": "balancedit.methods.ft:METHOD",
    "grace": "balancedit.methods.grace:METHOD",
    "ike": "balancedit.methods.ike:METHOD",
    "mend": "balancedit.methods.mend:METHOD",
}


def offered(method: str) -> OfferedMethod:
    """A method by its name. Raises `InputError` with nearest names."""
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest_names(method, METHODS)}")
    registered: OfferedMethod = named(METHODS[method])
    return registered


def configure(method: str, preset: str, options: dict[str, Any]) -> MethodConfig:
    """A preset of a method with single options changed. Raises `InputError` with nearest names."""
    presets = offered(method).presets
    if preset not in presets:
        raise InputError(f"unknown preset '{preset}' of {method}{nearest_names(preset, presets)}")
    known = [f.name for f in fields(presets[preset])]
    for name in options:
        if name not in known:
            raise InputError(f"{method} has no option '{name}'{nearest_names(name, known)}")
    return replace(presets[preset], **options)


def make_method(method: str, config: MethodConfig, loaded: LoadedModel) -> Method:
    """A method bound to a loaded model."""
    return offered(method).make(loaded, config)
