"""Requests to one server, JSON both ways.

What is safe is tried again: reading, and writing under an ``Idempotency-Key``, where the connection
failed or the server said that it is busy. Redirects are not followed: a key goes to the server that
it was given for, and nowhere else.
"""

from __future__ import annotations

import ipaddress
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from balancedit.errors import InputError, ServerError
from balancedit.serving.client.failures import away, failure, unreadable
from balancedit.version import __version__

SECONDS = 120.0  # without a byte from the server
_MOST = 64 * 2**20  # bytes of a reply
_TRIES = 3
_WAIT, _LONGEST_WAIT = 0.2, 10.0  # seconds before a second try; before any
_BUSY = (429, 502, 503, 504)

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a server answered: its status, and the JSON object in its body."""

    status: int
    body: Json


class Connection:
    """One server. address: ``http://host:port`` or https, with or without ``/v1``; key: None where
    it wants none; tenant: for keys that are for all of them. Raises `InputError`."""

    def __init__(
        self,
        address: str,
        key: str | None = None,
        tenant: str | None = None,
        *,
        seconds: float = SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address, local = _checked(address)
        self._headers = {"Accept": "application/json", "User-Agent": f"balancedit/{__version__}"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {_one_word(key, 'key')}"
        if tenant is not None:
            self._headers["Balancedit-Tenant"] = _one_word(tenant, "tenant")
        self._seconds, self._sleep = seconds, sleep
        proxies = [urllib.request.ProxyHandler({})] if local else []  # none stands before oneself
        self._opener = urllib.request.build_opener(_NoRedirects, *proxies)

    def get(self, path: str) -> Reply:
        """Read what lies at a path, like ``/v1/edits?limit=5``. Raises `ServerError` or another of
        ours."""
        return self._asked("GET", path, None, {}, again=True)

    def post(self, path: str, body: Json, idempotency_key: str | None = None) -> Reply:
        """Send a JSON object. idempotency_key: a name of this request alone, under which the server
        carries it out once however often it comes. Raises as `get` does."""
        named = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._asked("POST", path, body, named, again=idempotency_key is not None)

    def _asked(
        self, method: str, path: str, body: Json | None, headers: Mapping[str, str], *, again: bool
    ) -> Reply:
        for left in reversed(range(_TRIES if again else 1)):
            try:
                return self._once(method, path, body, headers)
            except ServerError as error:
                busy = error.status is None or error.status in _BUSY
                wait = error.retry_after or _WAIT * 2 ** (_TRIES - 1 - left)
                if not left or not busy or wait > _LONGEST_WAIT:
                    raise
                self._sleep(wait)
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, body: Json | None, headers: Mapping[str, str]) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(
            self.address + path, data, {**self._headers, **kind, **headers}, method=method
        )
        try:
            with self._opener.open(request, timeout=self._seconds) as response:
                status, found, said = response.status, response.headers, response.read(_MOST + 1)
        except HTTPError as error:  # a URLError, too
            with error:
                status, found, said = error.code, error.headers, _read(error)
        except URLError as error:
            raise away(self.address, error.reason, self._seconds) from error
        except (OSError, HTTPException) as error:
            raise away(self.address, error, self._seconds) from error
        return self._reply(status, found, said)

    def _reply(self, status: int, headers: Message, said: bytes) -> Reply:
        try:
            body = json.loads(said) if len(said) <= _MOST else None
        except (ValueError, RecursionError):
            body = None
        if status >= 300:
            raise failure(self.address, status, headers, body)
        if not isinstance(body, dict):
            raise unreadable(self.address, status)
        return Reply(status, body)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the reply stands as the error that it is."""


def _read(error: HTTPError) -> bytes:
    """The body of a refusal, as far as it comes."""
    try:
        return error.read(_MOST + 1)
    except (OSError, HTTPException):
        return b""


def _checked(address: str) -> tuple[str, bool]:
    """An address without what stands behind the host and the path before ``/v1``; and whether it is
    this very machine. Raises `InputError`."""
    try:
        parts = urlsplit(address.strip())
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    plain = address.isascii() and address.isprintable() and " " not in address.strip()
    if not (plain and host and parts.scheme in ("http", "https")) or parts.query or parts.fragment:
        raise InputError(
            f"'{address}' is no server's address; give one such as http://127.0.0.1:8000"
        )
    if parts.username is not None or parts.password is not None:
        raise InputError("a server's address holds no key; give it as --key or BALANCEDIT_KEY")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}", _is_here(host)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _one_word(text: str, what: str) -> str:
    """The same. Raises `InputError`, which does not repeat it, where it cannot be in a header."""
    if not (text.isascii() and text.isprintable() and text and " " not in text):
        raise InputError(f"the {what} holds spaces or other characters that none has; check it")
    return text
