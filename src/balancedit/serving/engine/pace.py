"""How fast an engine is, as measured while it is at work."""

from __future__ import annotations

#: What a measure counts for after one more answer, or fact: about the last fifty count.
_FADES = 0.98


class _Rate:
    """Seconds that one thing takes, of many done together too."""

    def __init__(self) -> None:
        self._seconds = self._things = 0.0

    def took(self, seconds: float, things: int) -> None:
        fades = _FADES**things
        self._seconds = self._seconds * fades + seconds
        self._things = self._things * fades + things

    @property
    def each(self) -> float | None:
        return self._seconds / self._things if self._things else None


class Pace:
    """Seconds that an answer takes, and a fact; full batches count more than single questions."""

    def __init__(self) -> None:
        self._answers, self._facts = _Rate(), _Rate()

    def took(self, seconds: float, facts: int | None, answers: int) -> None:
        """So long for a work of some facts or, where facts is None, for so many answers."""
        if facts is None:
            self._answers.took(seconds, answers)
        else:
            self._facts.took(seconds, facts)

    def seconds(self, answers: int, facts: int) -> float:
        """What so much will likely take; 0 for what was never measured."""
        return answers * (self._answers.each or 0.0) + facts * (self._facts.each or 0.0)

    @property
    def answers_per_second(self) -> float | None:
        """None before the first."""
        each = self._answers.each
        return 1 / each if each else None
