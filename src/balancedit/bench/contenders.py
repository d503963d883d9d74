"""What a benchmark compares: a method with its settings and its layer, named in one word.

``METHOD[:PRESET][+OPTION=VALUE…][@LAYER]``, such as ``balancedit``, ``balancedit:paper+alpha=0.3``
or ``grace@model.language_model.layers.25.mlp.up_proj``.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balancedit.editor import Editor
from balancedit.errors import InputError
from balancedit.inputs.text import between_commas
from balancedit.methods import configure, make_method
from balancedit.methods.presets import RECOMMENDED
from balancedit.models.loading import LoadedModel

_NAME = re.compile(
    r"(?P<method>[^:+@]+)(:(?P<preset>[^+@]+))?(?P<options>(\+[^+@]+)*)(@(?P<layer>.+))?"
)


@dataclass(frozen=True)
class Contender:
    """One method as it takes part. options: single settings beside the preset's. layer: dotted path
    of the layer it edits; None: the one the run edits."""

    name: str
    method: str
    preset: str
    options: dict[str, Any]
    layer: str | None

    def config(self) -> dict[str, Any]:
        """Every setting it runs with. Raises `InputError` for what does not exist."""
        return vars(configure(self.method, self.preset, self.options))

    def binding(self, loaded: LoadedModel) -> dict[str, str]:
        """What its edits of a model depend on beside the settings: layer, trained network …"""
        config = configure(self.method, self.preset, self.options)
        return make_method(self.method, config, loaded).binding()

    def editor(self, loaded: LoadedModel, edits: Path | None = None) -> Editor:
        """An editor of a model by this method; its edits in a directory, or None: in memory."""
        return Editor.on(
            loaded, edits=edits, method=self.method, preset=self.preset, **self.options
        )


def parse(text: str, preset: str = RECOMMENDED) -> Contender:
    """A contender by its name. preset: where the name has none; another than "recommended" becomes
    part of it. Raises `InputError` for a name or setting that does not exist."""
    match = _NAME.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"'{text}' names no method; write METHOD, METHOD:PRESET, METHOD+OPTION=VALUE or "
            "METHOD@LAYER"
        )
    options: dict[str, Any] = {}
    for setting in filter(None, match["options"].split("+")):
        name, equals, value = setting.partition("=")
        if not equals or not value:
            raise InputError(f"'+{setting}' in '{text}' sets nothing; write +OPTION=VALUE")
        options[name] = _value(value)
    method, named = match["method"], match["preset"]
    name = text.strip()
    if named is None and preset != RECOMMENDED:
        name = f"{method}:{preset}{name.removeprefix(method)}"
    contender = Contender(name, method, named or preset, options, match["layer"])
    try:
        contender.config()
    except TypeError as error:
        raise InputError(f"a setting in '{text}' has a value of the wrong kind: {error}") from error
    return contender


def parse_all(text: str, preset: str = RECOMMENDED) -> tuple[Contender, ...]:
    """Contenders with commas between, none twice; `preset` as for `parse`. Raises `InputError`; for
    an empty list too."""
    names = dict.fromkeys(between_commas(text))
    if not names:
        raise InputError("no methods are named; give some, such as --methods balancedit,ft")
    return tuple(parse(name, preset) for name in names)


def _value(text: str) -> Any:
    """A number, True, False or None where the text is one; else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
