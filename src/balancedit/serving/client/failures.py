"""A server's refusals, and its absence, in our words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from email.message import Message
from typing import Any

from balancedit.errors import (
    BalanceditError,
    EditFailedError,
    EditNotFoundError,
    ImageError,
    InputError,
    ServerError,
    first_line,
)

#: Errors that a server names by their code, and that mean what they mean without one.
_SAME: dict[str, Callable[[str], BalanceditError]] = {
    "invalid_image": ImageError,
    "invalid_value": InputError,
    "edit_not_found": EditNotFoundError,
    "edit_failed": EditFailedError,
}
_LONGEST = 500  # characters of what a server says of itself


def away(address: str, reason: Any, seconds: float) -> ServerError:
    """No answer came. reason: what the connection ended with."""
    if isinstance(reason, ssl.SSLError):
        said = getattr(reason, "verify_message", "") or reason.reason or first_line(reason)
        return ServerError(
            f"no secure connection to {address} ({said}); check the address and its certificate"
        )
    if isinstance(reason, TimeoutError):
        return ServerError(f"{address} has not answered within {seconds:g} s; look at its log")
    if isinstance(reason, ConnectionRefusedError):
        said = "nothing listens there"
    elif isinstance(reason, socket.gaierror):
        said = "there is no such host"
    else:
        said = getattr(reason, "strerror", None) or first_line(reason)
    return ServerError(
        f"no server answers at {address} ({said}); start one with `balancedit serve`, or check the "
        "address"
    )


def unreadable(address: str, status: int) -> ServerError:
    """The answer was no JSON object, or not of the shape that it must have."""
    return ServerError(
        f"what {address} answers ({status}) is not what a balancedit server answers; check the "
        "address",
        status,
    )


def failure(address: str, status: int, headers: Message, body: Any) -> BalanceditError:
    """What the server refused, and why. body: of its reply, plain JSON types."""
    told = body.get("error") if isinstance(body, dict) else None
    told = told if isinstance(told, dict) else {}
    message, code = str(told.get("message") or "")[:_LONGEST], str(told.get("code") or "")
    if message and code in _SAME:
        return _SAME[code](message)
    if 300 <= status < 400:
        where = headers.get("Location", "elsewhere")
        said = f"{address} sends on to {where}; give the server's own address"
    elif not message:
        return unreadable(address, status) if status < 500 else _down(address, status, headers)
    else:
        said = _SAID.get(status, "{address} refuses ({status}): {message}").format(
            address=address, status=status, message=message
        )
    return ServerError(said, status, _retry_after(headers))


_SAID = {
    401: "{message}; give the key as --key or BALANCEDIT_KEY",
    403: "{address} does not let this key do that: {message}",
    412: "{message}",
    413: "{address} does not take so much at once: {message}",
    429: "{address} has too much to do: {message}",
    500: "{address} failed: {message}",
    503: "{address} cannot do it now: {message}",
    504: "{address} did not come to it in time: {message}",
}


def _down(address: str, status: int, headers: Message) -> ServerError:
    """A proxy's own reply, mostly."""
    return ServerError(
        f"{address} cannot be reached behind what answers there ({status}); ask again in a moment, "
        "or look at the server's log",
        status,
        _retry_after(headers),
    )


def _retry_after(headers: Message) -> float | None:
    """Seconds after which to ask again, where the server says so."""
    given = (headers.get("Retry-After") or "").strip()
    return float(given) if given.isdecimal() and len(given) < 10 else None
