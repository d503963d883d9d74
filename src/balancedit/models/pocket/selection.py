"""Which drawn things the pocket model knows, what they are called and in which class they are.

The choices are data, `assets/selection.json`; this module reads them and knows nothing about files
of artwork or pictures. Things are called by Noto's icon slugs, with spaces for hyphens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class Selection:
    """The choices. group_of_subgroup: Unicode subgroup that is used -> the model's answer to "what
    kind of thing is this?"; group_override: thing, by the name it has here -> its class where that
    differs from its subgroup's; rename: clumsy slug -> everyday words; drop: slugs left out, of
    what is no single concrete thing, what looks like another thing in the list (the head of an
    animal that is also drawn whole, the twelve clock faces), and what carries meaning only as a
    sign."""

    group_of_subgroup: Mapping[str, str]
    group_override: Mapping[str, str]
    drop: frozenset[str]
    rename: Mapping[str, str]

    def chosen(self, slug: str, subgroup: str) -> tuple[str, str] | None:
        """A thing's name and class; None where it is left out."""
        slug = slug.replace("-", " ")
        if subgroup not in self.group_of_subgroup or slug in self.drop:
            return None
        name = self.rename.get(slug, slug)
        return name, self.group_override.get(name, self.group_of_subgroup[subgroup])


@lru_cache(maxsize=1)
def selection() -> Selection:
    """The choices as the package has them."""
    held = json.loads((files(__package__) / "assets" / "selection.json").read_text("utf-8"))
    return Selection(**held | {"drop": frozenset(held["drop"])})
