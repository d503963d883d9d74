"""Keys that callers show, ``bk_…``, each with a scope and a tenant; only their hashes are kept.

A key is 32 random bytes, so that its plain SHA-256 cannot be turned back; a slow hash would only
slow the server down. Hashes are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Scope = Literal["ask", "edit", "admin"]
#: Each scope may do what those before it may.
SCOPES: tuple[Scope, ...] = ("ask", "edit", "admin")
PREFIX = "bk_"
EVERY_TENANT = "*"


@dataclass(frozen=True)
class Key:
    """What is kept of a key. tenant: whose edits it is for, or "*" for everybody's."""

    id: str
    name: str
    sha256: str
    scope: Scope
    tenant: str
    created: str  # UTC, ISO 8601


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and for whose edits. `key_id` names the key in logs and audits; bound:
    the tenant that the key is for, "*" for everybody's."""

    key_id: str
    scope: Scope
    tenant: str
    bound: str

    @property
    def scopes(self) -> frozenset[str]:
        """All that the caller may do."""
        return frozenset(SCOPES[: SCOPES.index(self.scope) + 1])


class KeyRing(Protocol):
    """Where keys are looked up."""

    def find(self, secret: str) -> Key | None:
        """The key whose secret this is."""

    def by_id(self, key_id: str) -> Key | None:
        """The key of this id, None once it is removed."""


def new_secret() -> str:
    """A key as its owner gets it, once."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def matching(secret: str, keys: Iterable[Key]) -> Key | None:
    """The key whose secret this is; takes as long whichever it is."""
    shown, found = hashed(secret), None
    for key in keys:
        if hmac.compare_digest(shown, key.sha256):
            found = key
    return found


class Rings:
    """The keys of several rings together."""

    def __init__(self, *rings: KeyRing) -> None:
        self._rings = rings

    def find(self, secret: str) -> Key | None:
        """The key whose secret this is."""
        found = [ring.find(secret) for ring in self._rings]
        return next((key for key in found if key is not None), None)

    def by_id(self, key_id: str) -> Key | None:
        """The key of this id."""
        found = (ring.by_id(key_id) for ring in self._rings)
        return next((key for key in found if key is not None), None)


class HeldKeys:
    """Keys in memory alone, for a server that was started without a file, and for tests."""

    def __init__(self, *keys: Key) -> None:
        self._keys = keys

    def find(self, secret: str) -> Key | None:
        """The key whose secret this is."""
        return matching(secret, self._keys)

    def by_id(self, key_id: str) -> Key | None:
        """The key of this id."""
        return next((key for key in self._keys if key.id == key_id), None)
