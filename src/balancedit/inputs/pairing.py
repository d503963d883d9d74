"""One question about one image, or many, or conversations: how the two sides are matched, and put
into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from balancedit.errors import InputError
from balancedit.inputs.conversation import Asked as Asked  # beside Row, for whoever wants both
from balancedit.inputs.conversation import Conversation, opened
from balancedit.inputs.pictures import Picture, Shown, each, open_pictures
from balancedit.inputs.text import check_question

Sources: TypeAlias = list[Shown | None] | tuple[Shown | None, ...]
#: What a caller may give in an image's place; a conversation has its question with it.
Topic: TypeAlias = Shown | Conversation | None
Talks: TypeAlias = list[Conversation] | tuple[Conversation, ...]
#: What a prompt shows, and a question about it or the conversation that it is shown in.
Row: TypeAlias = tuple[Picture | None, Asked]
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


def checked(image: Topic, question: str | None) -> Row:
    """One question about one image, or a conversation, opened and checked. Raises `ImageError`,
    `InputError`."""
    if isinstance(image, Conversation):
        if question is not None:
            raise InputError(
                "a conversation ends with its question; leave the other out, or go on with "
                "Conversation.then(answer, question)"
            )
        return opened(image)
    if question is None:
        raise InputError("the question is missing; ask something about the picture")
    return None if image is None else open_pictures(image), check_question(question)


def checked_rows(pairs: Sequence[tuple[Topic, str | None]]) -> list[Row]:
    """`checked` of many questions; what is raised names the one it is about."""
    rows = []
    for i, (image, question) in enumerate(pairs):
        try:
            rows.append(checked(image, question))
        except InputError as error:
            if len(pairs) == 1:
                raise
            raise type(error)(f"question {i + 1} of {len(pairs)}: {error}") from error
    return rows


def batches(pictures: Sequence[Picture | None], size: int) -> Iterator[list[int]]:
    """Places of rows that go into a batch together, at most `size`, each row once: rows with as
    many pictures, since few processors mix them. pictures: what each row shows."""
    counts = [len(each(picture)) for picture in pictures]
    for count in sorted(set(counts), reverse=True):
        places = [i for i, n in enumerate(counts) if n == count]
        for start in range(0, len(places), size):
            yield places[start : start + size]
