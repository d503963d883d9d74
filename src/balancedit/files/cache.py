"""The user's cache: what is made once and can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """Where such files are kept; the environment's BALANCEDIT_CACHE overrides it."""
    chosen = os.environ.get("BALANCEDIT_CACHE")
    return Path(chosen) if chosen else user_cache_path("balancedit", appauthor=False)
