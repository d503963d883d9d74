"""On what terms a store is changed, and what it keeps of who changed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from balancedit.errors import EditConflictError, RepeatedRequestError

#: Seconds for which what a request came to is kept, so that it may be sent again.
REQUESTS_KEPT_S = 48 * 3600.0


@dataclass(frozen=True)
class AuditEntry:
    """Who asks for a change. key: the name of the key that was shown, never the key itself; detail:
    what a person may want to read beside it, without pictures or secrets."""

    key: str
    tenant: str
    detail: str = ""


@dataclass(frozen=True)
class AuditRecord:
    """One line of a store's audit; none is ever changed or deleted.

    id: counts up from 1 without gaps. time: UTC, ISO 8601. action: "edit", "revert", or what
    `EditStore.note` was given. version: the store's, once that was done.
    """

    id: int
    time: str
    tenant: str
    key: str
    action: str
    edit: str | None
    version: int
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Request:
    """A request that must be carried out once, however often it is sent. key: the name of the key
    that it was sent with; name: its own, which the sender chose; body_sha256: of what it asks."""

    key: str
    name: str
    body_sha256: str


@dataclass(frozen=True)
class Done:
    """What a request came to: an edit, and the version that the store was then at."""

    edit: str
    version: int


@dataclass(frozen=True)
class Terms:
    """On what terms a store is changed, and what is kept of it, in the very same transaction.

    expect: the version that the store must be at, else `EditConflictError`. audit: who asks.
    request: which request this is; one that was carried out is a `RepeatedRequestError`, and its
    name with another body a `RequestReusedError`. All are looked at under the write lock, before
    anything is written.
    """

    expect: int | None = None
    audit: AuditEntry | None = None
    request: Request | None = None

    def check(self, done: Callable[[Request], Done | None], version: Callable[[], int]) -> None:
        """Raise the error for what does not hold. done: what a request came to, if it was carried
        out; version: the store's; each is asked only where it matters."""
        self.check_request(done)
        if self.expect is not None and self.expect != (now := version()):
            raise EditConflictError(self.expect, now)

    def check_request(self, done: Callable[[Request], Done | None]) -> None:
        """Raise `RepeatedRequestError` where the request was carried out. done: as for `check`."""
        if self.request is not None and (found := done(self.request)):
            raise RepeatedRequestError(self.request.name, found.edit, found.version)


NO_TERMS = Terms()
