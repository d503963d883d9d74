"""Fetching pictures from a few named hosts, without becoming a way into the network around here.

A host must be named beforehand; its name is resolved once, no address of it may be other than a
public one, and the connection goes to that very address, so that nothing resolves it a second time.
Redirects are not followed, proxies of the environment not used, and no more is read than allowed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

import httpx2

from balancedit.errors import ImageError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Fetcher:
    """Fetches from `hosts` (``name`` or ``name:port``), at most `most` bytes in so many seconds."""

    def __init__(
        self,
        hosts: Sequence[str],
        most: int,
        seconds: float,
        *,
        resolve: Resolve | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._most, self._seconds = most, seconds
        self._resolve, self._transport = resolve or resolved, transport

    async def fetch(self, address: str) -> bytes:
        """What lies at an address. Raises `ImageError`."""
        url, host, port = self._allowed(address)
        try:
            async with asyncio.timeout(self._seconds):
                pinned = await self._pinned(host, port)
                return await self._get(url, host, port, pinned)
        except TimeoutError as error:
            raise ImageError(
                f"the picture at '{host}' did not come within {self._seconds:g} s; send it as a "
                "data URL"
            ) from error
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise ImageError(
                f"the picture at '{host}' cannot be fetched; send it as a data URL"
            ) from error

    def _allowed(self, address: str) -> tuple[httpx2.URL, str, int]:
        """The address taken apart, if its host is one of ours."""
        try:
            url = httpx2.URL(address)
        except (httpx2.InvalidURL, ValueError) as error:
            raise _refused() from error
        port = url.port or _PORTS.get(url.scheme, 0)
        host = url.host.lower().rstrip(".")
        usual = port == _PORTS.get(url.scheme)
        known = f"{host}:{port}" in self._hosts or (usual and host in self._hosts)
        if url.scheme not in _PORTS or url.userinfo or not known:
            raise _refused()
        return url, host, port

    async def _pinned(self, host: str, port: int) -> str:
        """The address that the host has, all of whose addresses must be public."""
        found = await self._resolve(host, port)
        if not found or not all(map(is_public, found)):
            raise ImageError(
                f"'{host}' is not a public address as seen from the server; send the picture as a "
                "data URL"
            )
        return found[0]

    async def _get(self, url: httpx2.URL, host: str, port: int, pinned: str) -> bytes:
        where = url.copy_with(host=pinned, port=port, fragment=None)
        shown = host if port == _PORTS[url.scheme] else f"{host}:{port}"
        client = httpx2.AsyncClient(
            transport=self._transport, follow_redirects=False, trust_env=False, timeout=None
        )
        # What is not compressed cannot grow while it is read.
        headers = {"Host": shown, "Accept": "image/*", "Accept-Encoding": "identity"}
        async with client:
            asked = client.build_request(
                "GET", where, headers=headers, extensions={"sni_hostname": host}
            )
            reply = await client.send(asked, stream=True)
            try:
                return await self._body(reply, host)
            finally:
                await reply.aclose()

    async def _body(self, reply: httpx2.Response, host: str) -> bytes:
        if reply.status_code != 200:
            raise ImageError(
                f"'{host}' answers with {reply.status_code} and no picture; redirects are not "
                "followed"
            )
        parts, length = [], 0
        async for part in reply.aiter_raw():
            length += len(part)
            if length > self._most:
                raise ImageError(
                    f"the picture at '{host}' has more than {self._most / 1e6:g} MB; scale it down"
                )
            parts.append(part)
        return b"".join(parts)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's, an IPv4 address inside an IPv6 one
    included."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.sixtofour is not None or ip.teredo is not None:  # tunnels, to wherever
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def resolved(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


def _refused() -> ImageError:
    return ImageError(
        "the picture is no data URL, and its address is not one the server may fetch from; send "
        "data:image/png;base64,…"
    )
