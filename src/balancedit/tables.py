"""What the lines of tables name, imported when it is first wanted: one line adds a thing, and what
is not asked for costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named(address: str) -> Any:
    """What stands at ``module:name``. Raises ImportError or AttributeError where nothing does."""
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)
