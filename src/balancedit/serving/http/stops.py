"""Texts that end an answer, found while it comes."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Gives an answer's pieces on up to the first of some texts, which is not given: the one that
    is whole first, so that it does not matter how the pieces are cut. What may be the beginning of
    one is held back."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts, self._held = tuple(texts), ""
        self.found = False

    def take(self, piece: str) -> str:
        """What may be given on, now that `piece` has come."""
        if self.found:
            return ""
        text = self._held + piece
        places = [(text.find(stop), len(stop)) for stop in self._texts]
        whole = [(at + length, at) for at, length in places if at >= 0]
        if whole:
            self.found, self._held = True, ""
            return text[: min(whole)[1]]
        held = max((_begun(text, stop) for stop in self._texts), default=0)
        given = len(text) - held
        self._held = text[given:]
        return text[:given]

    def rest(self) -> str:
        """What was held back, now that nothing more comes."""
        rest, self._held = self._held, ""
        return rest


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next(
        (n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0
    )
