"""What is asked, as the messages that a processor's chat template renders.

Letters: B = prompts of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from balancedit.errors import InputError, first_line
from balancedit.inputs.conversation import Asked, Dialogue

Message = dict[str, Any]

_PROBE = {"system": "obey", "user": "wherefore", "assistant": "verily"}


def messages(
    asked: Asked, images: Sequence[Image.Image], system: str | None, as_text: Collection[str]
) -> list[Message]:
    """The messages of one prompt, each picture in its place. system: what stands first where the
    conversation has no system message of its own; as_text: see `Style`."""
    if isinstance(asked, str):
        asked = Dialogue((("user", (*[None] * len(images), asked)),))
    shown = iter(images)
    turns = list(asked.turns)
    if system is not None and turns[0][0] != "system":
        turns.insert(0, ("system", (system,)))
    made: list[Message] = []
    for role, parts in turns:
        if role in as_text and None not in parts:
            made.append({"role": role, "content": "\n".join(map(str, parts))})
            continue
        content = [
            {"type": "image", "image": next(shown)}
            if part is None
            else {"type": "text", "text": part}
            for part in parts
        ]
        made.append({"role": role, "content": content})
    return made


@dataclass(frozen=True)
class Style:
    """How a chat template wants its messages. as_text: the roles whose turns are plain texts; those
    of most are lists of parts. hears_answers: whether it says what the assistant said before."""

    as_text: frozenset[str] = frozenset()
    hears_answers: bool = True

    def check(self, asked: Sequence[Asked], model: str) -> None:
        """Raise `InputError` for conversations of which the template would leave out a part."""
        answered = any(
            role == "assistant" for a in asked if isinstance(a, Dialogue) for role, _ in a.turns
        )
        if answered and not self.hears_answers:
            raise InputError(
                f"the chat template of {model} leaves out what was answered before, so it takes "
                "no conversation; ask its last question alone"
            )


def style_of(render: Callable[[list[Message]], str]) -> Style:
    """How a chat template wants its messages, found out with a conversation of a word a turn.
    render: messages -> the prompt's text."""
    lists = (role for role in ("system", "assistant") if _says(render, role, ()) is False)
    as_text = frozenset(lists)
    lost = "assistant" in as_text and _says(render, "assistant", as_text) is False
    return Style(as_text, hears_answers=not lost)


def _says(
    render: Callable[[list[Message]], str], role: str, as_text: Collection[str]
) -> bool | None:
    """Whether a template says what a turn of this role says; None where it refuses the turn."""
    roles = ("system", "user") if role == "system" else ("user", "assistant", "user")
    turns = Dialogue(tuple((r, (_PROBE[r],)) for r in roles))  # type: ignore[misc]
    try:
        text = render(messages(turns, (), None, as_text))
    except TemplateError:
        return None
    except (TypeError, ValueError, AttributeError, KeyError):
        return False
    return _PROBE[role] in text and f"'{_PROBE[role]}'" not in text


def refused(error: TemplateError, asked: Sequence[Asked], system: str | None, model: str) -> str:
    """Why a chat template takes no such prompts, in words. system: the editor's system message."""
    said = first_line(error)
    if all(isinstance(one, str) for one in asked):
        if system is None:
            return f"the chat template of {model} takes no such question ({said})"
        return f"the chat template of {model} takes no system message ({said}); leave system= out"
    return (
        f"the chat template of {model} does not take this conversation ({said}){_unusual(asked)}; "
        "let user and assistant take turns, and leave a system message out where it takes none"
    )


def marked(asked: Sequence[Asked], markers: Iterable[str]) -> str | None:
    """A marker that the texts of prompts write, where they write one."""
    texts = [t for one in asked for t in ([one] if isinstance(one, str) else one.texts)]
    return next((m for m in markers for text in texts if m in text), None)


def check_unmarked(asked: Sequence[Asked], marker: str | None) -> None:
    """Raise `InputError` where the texts of prompts write a marker, as `marked` found."""
    if marker is not None:
        what = "question" if all(isinstance(one, str) for one in asked) else "conversation"
        raise InputError(
            f"the {what} holds '{marker}', which marks parts of this model's prompt; word it "
            "differently"
        )


def plain(asked: Sequence[Asked], model: str) -> list[str]:
    """Questions for a model that is asked through a format string. Raises `InputError` for a
    conversation."""
    questions = [one for one in asked if isinstance(one, str)]
    if len(questions) < len(asked):
        raise InputError(
            f"{model} is asked through a format string, which holds one question below its "
            "pictures; a conversation with earlier turns, a system message or pictures between "
            "texts takes a model with a chat template"
        )
    return questions


def _unusual(asked: Sequence[Asked]) -> str:
    """What is unusual about the first conversation of which something is."""
    for one in asked:
        roles = [role for role, _ in one.turns] if isinstance(one, Dialogue) else []
        for number, (role, after) in enumerate(pairwise(roles), 1):
            if role == after:
                return f": turns {number} and {number + 1} are both the {role}'s"
            if after == "system":
                return f": turn {number + 1} is a system message"
        if "system" in roles:
            return ": it has a system message"
    return ""
