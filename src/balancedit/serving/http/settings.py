"""What a server is started with, apart from its model: where it listens and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from balancedit.errors import InputError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ServeSettings:
    """Address and limits. Times are in seconds, sizes in bytes. Raises `InputError`."""

    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int | None = None  # of its own, open; None: /metrics on the main port, for admin
    metrics_host: str = "127.0.0.1"
    max_requests: int = 200  # under way at once; each may hold a body
    max_body: int = 12 * MEGABYTE
    body_seconds: float = 30.0  # for the whole body to arrive
    max_depth: int = 32  # of nested JSON
    max_items: int = 5_000  # keys and list items of a JSON body together
    max_pictures: int = 4
    max_pixels: int = 16_000_000  # of each picture
    picture_hosts: tuple[str, ...] = ()  # that pictures are fetched from; empty: data URLs alone
    picture_seconds: float = 10.0  # for one picture to be fetched
    rate: float = 10.0  # requests a second and key, over time
    burst: float = 60.0  # and at once
    deadline: float = 60.0  # for an answer, where the caller names no other
    edit_deadline: float = 120.0  # for an edit, a preview, an explanation
    max_tokens: int = 1_024  # of an answer at most, whatever is asked for
    session_seconds: float = 12 * 3600.0  # of the page's cookie
    https: bool = False  # a proxy in front of the server ends TLS
    drain_seconds: float = 30.0  # for requests under way when the server is told to stop

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"port {self.port} does not exist; give 1 to 65535, or 0 for any")
        positive = (
            "max_requests",
            *("max_body", "body_seconds", "max_depth", "max_items", "max_pictures", "max_pixels"),
            *("picture_seconds", "rate", "burst", "deadline", "edit_deadline", "max_tokens"),
            *("session_seconds", "drain_seconds"),
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; give more than 0")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's own alone. A name other than localhost may
    be any address, so it is not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
