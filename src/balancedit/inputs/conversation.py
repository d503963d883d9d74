"""A conversation that ends with a question: what came before it, and pictures in their turns.

`Conversation` is what a caller makes. Inside, it travels as what a single question does: its
pictures, in the order in which they are shown, and beside them a `Dialogue`, the turns with a gap
where each picture stands. This module knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from balancedit.errors import InputError
from balancedit.inputs.images import Source, open_image
from balancedit.inputs.pictures import Picture, Pictures, Shown
from balancedit.inputs.text import check_part

Role = Literal["system", "user", "assistant"]
#: Of a turn: a text, or pictures that stand there.
Part: TypeAlias = str | Pictures[Source]

MAX_TEXT = 200_000  # characters of all turns together; far beyond what models hold
MAX_TURNS = 1_000


@dataclass(frozen=True, eq=False)
class Turn:
    """What one side says: texts and pictures in the order in which the model sees them.

    `Turn.user("What is this?", "owl.png")` shows the picture and asks below it. Where it matters
    what stands between pictures: ``Turn("user", (Pictures("a.png"), "before,", Pictures("b.png"),
    "after"))``. Raises `InputError` for a role there is none of and for what is no part of a turn.
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InputError(f"there is no role {self.role!r}; take user, assistant or system")
        parts = (self.parts,) if isinstance(self.parts, str) else tuple(self.parts)
        for part in parts:
            if not isinstance(part, (str, Pictures)):
                raise InputError(
                    f"a part of a turn is a {type(part).__name__}; give texts, and pictures as "
                    "Pictures(…)"
                )
        object.__setattr__(self, "parts", parts)

    @classmethod
    def user(cls, text: str, shown: Shown | None = None) -> Turn:
        """What is asked, below what is shown."""
        return cls("user", (*_shown(shown), text))

    @classmethod
    def assistant(cls, text: str) -> Turn:
        """What was answered."""
        return cls("assistant", (text,))

    @classmethod
    def system(cls, text: str) -> Turn:
        """What the model is told before anything is asked."""
        return cls("system", (text,))

    @property
    def text(self) -> str:
        """Its texts, one a line where there are several."""
        return "\n".join(part.strip() for part in self.parts if isinstance(part, str))

    @property
    def pictures(self) -> tuple[Source, ...]:
        """What it shows, in order."""
        return tuple(p for part in self.parts if isinstance(part, Pictures) for p in part)


@dataclass(frozen=True, init=False, eq=False)
class Conversation:
    """Turns of a user and an assistant, the last one the user's question; a system message may
    stand first, and then counts instead of the editor's own.

    ``talk = Conversation.about("owl.png", "What is this?")`` asks what ``editor.ask("owl.png",
    "What is this?")`` does, and ``talk.then("owl", "What colour is it?")`` goes on from there. A
    list of conversations is asked in a batch. Raises `InputError` for turns that make no
    conversation: none, an answer first, no question last, an empty text.
    """

    turns: tuple[Turn, ...]

    def __init__(self, *turns: Turn) -> None:
        _check_turns(turns)
        object.__setattr__(self, "turns", turns)

    @classmethod
    def about(
        cls, image: Shown | None, question: str, *, system: str | None = None
    ) -> Conversation:
        """A first question; image: as for `Editor.ask`."""
        told = () if system is None else (Turn.system(system),)
        return cls(*told, Turn.user(question, image))

    def then(self, answer: str, question: str, image: Shown | None = None) -> Conversation:
        """The same, answered so, and the question that follows."""
        return Conversation(*self.turns, Turn.assistant(answer), Turn.user(question, image))

    @property
    def question(self) -> str:
        """The text of the last turn."""
        return self.turns[-1].text

    @property
    def pictures(self) -> tuple[Source, ...]:
        """All that is shown, in order."""
        return tuple(picture for turn in self.turns for picture in turn.pictures)


@dataclass(frozen=True)
class Dialogue:
    """A conversation's turns without its pictures: each a role and its parts, a text or None where
    the next picture stands."""

    turns: tuple[tuple[Role, tuple[str | None, ...]], ...]

    @property
    def question(self) -> str:
        """The text of the last turn."""
        return "\n".join(part for part in self.turns[-1][1] if part is not None)

    @property
    def texts(self) -> Iterator[str]:
        """All texts, in order."""
        return (part for _, parts in self.turns for part in parts if part is not None)


#: What is asked about the pictures of a prompt.
Asked: TypeAlias = str | Dialogue


def question_of(asked: Asked) -> str:
    """The text of the question itself."""
    return asked if isinstance(asked, str) else asked.question


def preceded(asked: Asked, prefix: str) -> Asked:
    """The same with a text before that of the question itself."""
    if isinstance(asked, str):
        return prefix + asked
    *before, (role, parts) = asked.turns
    at = next(i for i, part in enumerate(parts) if part is not None)
    parts = (*parts[:at], prefix + str(parts[at]), *parts[at + 1 :])
    return Dialogue((*before, (role, parts)))


def opened(conversation: Conversation) -> tuple[Picture | None, Asked]:
    """A conversation's pictures, and what is asked about them: a plain question where it has one
    turn with the pictures first, so that it is the same prompt as without a conversation. Raises
    `ImageError`, which names the turn."""
    pictures = []
    turns: list[tuple[Role, tuple[str | None, ...]]] = []
    for number, turn in enumerate(conversation.turns, 1):
        for source in turn.pictures:
            try:
                pictures.append(open_image(source))
            except InputError as error:
                if len(conversation.turns) == 1:
                    raise
                raise type(error)(f"turn {number} ({turn.role}): {error}") from error
        turns.append((turn.role, tuple(_gapped(turn))))
    shown = None if not pictures else pictures[0] if len(pictures) == 1 else Pictures(*pictures)
    *first, last = turns[-1][1]
    if len(turns) == 1 and last is not None and not any(first):
        return shown, last
    return shown, Dialogue(tuple(turns))


def _gapped(turn: Turn) -> Iterator[str | None]:
    """A turn's parts, without the space around the whole, None for each picture."""
    first = next((at for at, part in enumerate(turn.parts) if isinstance(part, str)), None)
    for at, part in enumerate(turn.parts):
        if isinstance(part, Pictures):
            yield from [None] * len(part)
            continue
        text = part.lstrip() if at == first else part
        yield text.rstrip() if at == len(turn.parts) - 1 else text


def _shown(shown: Shown | None) -> tuple[Pictures[Source], ...]:
    if shown is None:
        return ()
    return (shown if isinstance(shown, Pictures) else Pictures(shown),)


def _check_turns(turns: tuple[Turn, ...]) -> None:
    """Raise `InputError` for turns that make no conversation."""
    for turn in turns:
        if not isinstance(turn, Turn):
            raise InputError(f"a turn is a {type(turn).__name__}; give Turn.user(…) and its like")
    said = [turn for turn in turns if turn.role != "system"]
    if not said:
        raise InputError("the conversation is empty; give at least a user's question")
    if len(turns) > MAX_TURNS:
        raise InputError(f"the conversation has {len(turns):,} turns; {MAX_TURNS:,} is the most")
    if said[0].role != "user":
        raise InputError("the conversation begins with an answer; the user speaks first")
    if turns[-1].role != "user":
        raise InputError(
            f"the conversation ends with the {turns[-1].role}'s turn; its last one must be the "
            "user's question"
        )
    for number, turn in enumerate(turns, 1):
        _check_turn(turn, f"turn {number} of the conversation ({turn.role})", number == len(turns))
    length = sum(len(turn.text) for turn in turns)
    if length > MAX_TEXT:
        raise InputError(f"the conversation has {length:,} characters; {MAX_TEXT:,} is the most")


def _check_turn(turn: Turn, name: str, last: bool) -> None:
    texts = [part for part in turn.parts if isinstance(part, str)]
    for text in texts:
        check_part(text, name)
    shows = bool(turn.pictures)
    if shows and turn.role == "system":
        raise InputError(f"{name} shows a picture; show it in the user's turn")
    if not any(map(str.strip, texts)) and (last or not shows):
        remedy = "ask something" if last else "give its text, or leave it out"
        raise InputError(f"{name} is empty; {remedy}")
