"""Every error a caller may want to catch. Each message names the thing, what was wrong, and the
remedy; the command line prints it as one line and exits with code 1."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BalanceditError(Exception):
    """Base class: catching it catches everything this library raises on purpose."""


class InputError(BalanceditError):
    """A question, answer, rephrasing or option that cannot be used."""


class ImageError(InputError):
    """A file or object that is not a usable picture."""


class PromptError(InputError):
    """A prompt that the model's processor does not take. row: its place among those asked about
    together, from 0."""

    def __init__(self, reason: str, row: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.row = reason, row

    def among(self, row: int, rows: int) -> PromptError:
        """The same of the row with this place among so many, named where there are several."""
        named = PromptError(f"question {row + 1} of {rows}: {self.reason}", row)
        named.reason = self.reason
        return named if rows > 1 else self


class ModelLoadError(BalanceditError):
    """A model, or a part of one, that cannot be found or loaded."""


class UnsupportedModelError(ModelLoadError):
    """A model that loads but cannot be edited (no image input, encoder-decoder, …)."""


class LayerError(BalanceditError):
    """A layer path that does not exist in the model or is not a linear layer."""


class ModelError(BalanceditError):
    """A model whose own code fails on a prompt, or for which the memory does not suffice; what it
    raised is the cause."""


class RoutingError(BalanceditError):
    """A forward pass in which the whole prompt cannot be seen, so no edit can be chosen rightly."""


class EditNotFoundError(BalanceditError):
    """An edit id that is not held, or no longer active."""


class EditFailedError(BalanceditError):
    """An edit that could not be learned; nothing was kept of it."""


class StoreError(BalanceditError):
    """An edit store that cannot be opened, read or written."""


class DamagedEditError(StoreError):
    """An edit whose stored tensors cannot be trusted; it is left out, the others work."""

    def __init__(self, edit_id: str, reason: str) -> None:
        super().__init__(f"edit '{edit_id}' is left out: {reason}")
        self.edit_id = edit_id
        self.reason = reason


class EditConflictError(StoreError):
    """The edits have changed since the version that a change was meant for; nothing was written."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the edits are at version {found}, not at {expected} as expected; look at what has "
            "changed since, then try again with the new version"
        )
        self.expected, self.found = expected, found


class OutdatedPreviewError(EditConflictError):
    """A preview that was made of other edits than there are now, so that what it says would not be
    what happens; nothing was written."""

    def __init__(self, reason: str, expected: int, found: int) -> None:
        super().__init__(expected, found)
        self.args = (f"{reason}; preview the fact again",)


class RepeatedRequestError(StoreError):
    """A request that was carried out before, and not a second time; edit and version are what it
    came to."""

    def __init__(self, name: str, edit_id: str, version: int) -> None:
        super().__init__(
            f"request '{name}' was carried out before, as edit '{edit_id}'; to make another edit, "
            "give another name"
        )
        self.edit_id, self.version = edit_id, version


class RequestReusedError(StoreError):
    """The name of a request that was given to another one before; nothing was written."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"request name '{name}' was used for a request that asked something else; give every "
            "request a name of its own"
        )


class StoreMismatchError(StoreError):
    """An edit store made for another model, layer, method, key or distance."""


class KeyFileError(BalanceditError):
    """A server's file of keys that cannot be read or written."""


class ServerError(BalanceditError):
    """A server that is away, refuses, or answers what cannot be understood. status: of its reply,
    None where there was none; retry_after: seconds after which to ask again, where it says so."""

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class DataError(BalanceditError):
    """A data set on disk that cannot be read, used, built or downloaded."""


class ResultsError(BalanceditError):
    """Benchmark results that cannot be read, written or continued."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, on one line; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return f"{lines[0]}" if lines else type(error).__name__


def nearest_names(name: str, known: Iterable[str], n: int = 3) -> str:
    """Say which of `known` are spelled most like `name`: ``"; nearest: a, b"``, or all of them when
    none is close. Empty when nothing is known."""
    known = list(known)
    if not known:
        return ""
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else f"; known: {', '.join(known[:8])}"
