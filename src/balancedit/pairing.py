"""One question about one image, or many: how the two sides are matched."""

from __future__ import annotations

from typing import Any, TypeAlias

from balancedit.errors import InputError
from balancedit.images import Source

Sources: TypeAlias = list[Source | None] | tuple[Source | None, ...]
Texts: TypeAlias = list[str] | tuple[str, ...]


def paired(images: Any, questions: Any) -> tuple[bool, list[tuple[Any, Any]]]:
    """Pair images with questions; a single one of either goes with all of the other.

    Returns whether both were single, and the pairs. Raises `InputError` when their numbers differ.
    """
    many_images = isinstance(images, (list, tuple))
    many_questions = isinstance(questions, (list, tuple))
    if not many_images and not many_questions:
        return True, [(images, questions)]
    if not many_questions:
        return False, [(image, questions) for image in images]
    if not many_images:
        return False, [(images, question) for question in questions]
    if len(images) != len(questions):
        raise InputError(
            f"{len(images)} images for {len(questions)} questions; give as many of each, or one"
        )
    return False, list(zip(images, questions, strict=True))
