"""What may be answered to the questions of a data set, in the words that stand for each answer.

This module knows nothing about records, pictures or models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from balancedit.files.durable import digest


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Listed answers by the sort of question they answer, each with its synonyms.

    ignored: phrases that hold a listed word without giving that answer, by sort: "passion fruit" is
    no answer "fruit".
    """

    name: str
    answers: Mapping[str, Mapping[str, tuple[str, ...]]]
    ignored: Mapping[str, tuple[str, ...]]

    def describe(self) -> dict[str, Any]:
        """The name, and SHA-256 over everything listed."""
        listed = {sort: dict(held) for sort, held in self.answers.items()}
        text = json.dumps([listed, dict(self.ignored)], sort_keys=True, separators=(",", ":"))
        return {"name": self.name, "sha256": digest(text.encode())}
