"""An engine without a model, whose answers the tests choose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from balancedit.inputs.conversation import Asked, opened
from balancedit.serving.engine.protocol import Answered, Ask, EngineState
from balancedit.types import Answer

Reply = str | Exception | Callable[[Ask], "str | Exception"]


@dataclass
class FakeEngine:
    """Answers every question at once with `reply`, raising it where it is an error, in pieces of a
    word. `asked` has what it was asked; while `gate` is not set it waits behind `free_pieces`
    pieces. `cancelled` counts the questions that were taken back, `taken_back` says so to other
    threads."""

    reply: Reply = "an owl"
    state: EngineState = field(default_factory=EngineState)
    asked: list[Ask] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)
    gate: asyncio.Event | None = None
    free_pieces: int = 0
    breaks_after: int | None = None
    cancelled: int = 0
    taken_back: threading.Event = field(default_factory=threading.Event)
    finished: int = 0
    drained: bool = False
    fired: str | None = "edit-1"
    editor: Any = None

    async def ask(
        self,
        asked: Ask,
        *,
        deadline: float | None = None,
        on_piece: Callable[[str], None] | None = None,
    ) -> Answered:
        self.asked.append(asked)
        self.deadlines.append(deadline)
        said = self.reply(asked) if callable(self.reply) else self.reply
        if isinstance(said, Exception) and self.breaks_after is None:
            raise said
        text = said if isinstance(said, str) else "one two three"
        try:
            for number, piece in enumerate(pieces(text)):
                if self.gate is not None and number >= self.free_pieces:
                    await self.gate.wait()
                if number == self.breaks_after and isinstance(said, Exception):
                    raise said
                if on_piece is not None:
                    on_piece(piece)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            self.taken_back.set()
            raise
        self.finished += 1
        fired = None if asked.base else self.fired
        answer = Answer(text, fired, self.fired, 0.25, 0.5)
        return Answered(answer, self.version(asked.tenant), 7, len(pieces(text)))

    async def run(
        self,
        tenant: str,
        work: Callable[[Any], Any],
        *,
        facts: int = 0,
        deadline: float | None = None,
    ) -> Any:
        return work(self.editor)

    def version(self, tenant: str) -> int:
        return self.state.versions.get(tenant, 3)

    async def drain(self) -> None:
        self.drained = True

    @property
    def questions(self) -> list[Asked]:
        """What was asked, as prompts are made of it."""
        return [opened(ask.turns)[1] for ask in self.asked]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Sizes of the pictures shown last."""
        return [p.size for p in self.asked[-1].turns.pictures if isinstance(p, Image.Image)]


def pieces(text: str) -> list[str]:
    """A text in words, the spaces before them."""
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]
