"""Pictures that callers show: what is opened, what is refused, what is fetched and from where."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest
from PIL import Image

from balancedit.errors import ImageError
from balancedit.serving.http.fetching import Fetcher, is_public
from serving.http.conftest import MakeServer, Server, asking, data_url

PUBLIC = "93.184.216.34"


def refused(server: Server, *urls: str) -> dict[str, Any]:
    reply = server.chat(asking("What is this?", *urls))
    assert reply.status_code == 400, reply.text
    assert not server.engine.asked
    said: dict[str, Any] = reply.json()["error"]
    return said


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "/etc/passwd",
        "../etc/passwd",
        "~/secret.png",
        "C:\\secret.png",
        "ftp://example.com/a.png",
        "gopher://example.com/",
        "http://example.com/a.png",
        "https://example.com/a.png",
        "http://localhost/a.png",
        "http://127.0.0.1:8000/a.png",
        "http://[::1]/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://",
        "https://exa mple.com/",
        "//example.com/a.png",
        "demo:owl",
        "blob:https://example.com/1",
        "",
        "x" * 100_000,
    ],
)
def test_only_data_urls_are_opened(server: Server, url: str) -> None:
    said = refused(server, url)
    assert said["code"] == "invalid_image"
    assert said["param"] == "messages.0.content.1.image_url.url"
    assert len(said["message"]) < 300


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png;base64,",
        "data:image/png;base64,@@@",
        "data:image/png;base64,AAAA",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "data:text/html,<script>alert(1)</script>",
    ],
)
def test_data_that_is_no_picture_is_refused(server: Server, url: str) -> None:
    assert refused(server, url)["code"] == "invalid_image"


def as_data(raw: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(raw).decode()}"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(5_000, 4_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(server: Server, size: tuple[int, int]) -> None:
    assert "pixels" in refused(server, as_data(bomb(*size)))["message"]


def test_the_bound_on_pixels_is_the_servers(make_server: MakeServer) -> None:
    server = make_server(max_pixels=100)
    assert server.chat(asking("What?", data_url(10, 10))).status_code == 200
    server.engine.asked.clear()
    assert "pixels" in refused(server, data_url(10, 11))["message"]


def test_more_pictures_than_allowed_are_refused(server: Server) -> None:
    said = refused(server, *[data_url()] * 5)
    assert (said["code"], said["param"]) == ("too_many_images", "messages")
    assert server.chat(asking("What?", *[data_url()] * 4)).status_code == 200


def test_metadata_and_rotation_are_gone_before_anything_sees_them(server: Server) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    Image.new("RGB", (4, 8)).save(out, "JPEG", exif=exif)
    url = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    assert server.chat(asking("What?", url)).status_code == 200
    assert server.engine.sizes == [(8, 4)]


# -- fetching ---------------------------------------------------------------------------------


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (3, 2)).save(out, "PNG")
    return out.getvalue()


class Parts(httpx2.AsyncByteStream):
    """A body as it comes from a network."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), 50):
            yield self._body[at : at + 50]


class Net:
    """A network: what names resolve to, and what is answered there."""

    def __init__(
        self,
        addresses: Sequence[str] = (PUBLIC,),
        status: int = 200,
        body: bytes | None = None,
        error: Exception | None = None,
    ) -> None:
        self.addresses, self.error = addresses, error
        self.asked: list[httpx2.Request] = []
        self.resolved: list[tuple[str, int]] = []
        self._status, self._body = status, picture() if body is None else body

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append((host, port))
        return self.addresses

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        there = {"Location": "http://169.254.169.254/"} if self._status // 100 == 3 else {}
        return httpx2.Response(self._status, headers=there, stream=Parts(self._body))

    def fetch(self, url: str, *hosts: str, most: int = 10_000, seconds: float = 5) -> bytes:
        fetcher = Fetcher(
            hosts or ("pictures.example",),
            most,
            seconds,
            resolve=self.resolve,
            transport=httpx2.MockTransport(self.handle),
        )
        return asyncio.run(fetcher.fetch(url))


def test_a_picture_of_a_named_host_is_fetched_from_the_address_that_was_looked_at() -> None:
    net = Net()
    assert net.fetch("https://Pictures.example/a/b.png?c=d#e") == picture()
    (asked,) = net.asked
    assert net.resolved == [("pictures.example", 443)]
    assert str(asked.url) == f"https://{PUBLIC}/a/b.png?c=d"
    assert asked.headers["host"] == "pictures.example"
    assert asked.extensions["sni_hostname"] == "pictures.example"
    assert asked.headers["accept-encoding"] == "identity"
    assert "authorization" not in asked.headers
    assert "cookie" not in asked.headers


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/a.png",
        "https://pictures.example.evil.example/a.png",
        "https://evil.example#pictures.example",
        "https://evil.example/pictures.example",
        "https://pictures.example@evil.example/",
        "https://user:word@pictures.example/a.png",
        "https://pictures.example:8443/a.png",
        "http://pictures.example:443/a.png",
        "https://pictures.example\\@evil.example/",
        "https://sub.pictures.example/a.png",
        "file://pictures.example/etc/passwd",
        f"https://{PUBLIC}/a.png",
    ],
)
def test_other_addresses_are_not_even_looked_up(url: str) -> None:
    net = Net()
    with pytest.raises(ImageError, match="may fetch from"):
        net.fetch(url)
    assert not net.resolved
    assert not net.asked


def test_a_port_of_its_own_must_be_named() -> None:
    net = Net()
    net.fetch("http://pictures.example:8080/a.png", "pictures.example:8080")
    assert net.asked[0].url.port == 8080
    assert net.asked[0].headers["host"] == "pictures.example:8080"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.8"],
        ["192.168.1.1"],
        ["172.16.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["255.255.255.255"],
        ["240.0.0.1"],
        ["::1"],
        ["::"],
        ["fe80::1%eth0"],
        ["fc00::1"],
        ["ff02::1"],
        ["::ffff:127.0.0.1"],
        ["::ffff:169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["64:ff9b::a00:1"],
        ["2002:7f00:1::"],
        ["2002:5db8:d822::"],
        [PUBLIC, "127.0.0.1"],
        [],
    ],
)
def test_a_host_with_any_address_that_is_not_public_is_refused(addresses: list[str]) -> None:
    net = Net(addresses)
    with pytest.raises(ImageError, match="public"):
        net.fetch("https://pictures.example/a.png")
    assert not net.asked


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 404, 500, 206])
def test_redirects_are_not_followed_and_other_replies_are_no_pictures(status: int) -> None:
    net = Net(status=status)
    with pytest.raises(ImageError, match=str(status)):
        net.fetch("https://pictures.example/a.png")
    assert len(net.asked) == 1


def test_no_more_is_read_than_allowed() -> None:
    with pytest.raises(ImageError, match="MB"):
        Net(body=b"x" * 101).fetch("https://pictures.example/a.png", most=100)


def test_what_goes_wrong_on_the_way_says_nothing_of_the_network_here() -> None:
    net = Net(error=httpx2.ConnectError("connection to 10.1.2.3 refused"))
    with pytest.raises(ImageError) as raised:
        net.fetch("https://pictures.example/a.png")
    assert "10.1.2.3" not in str(raised.value)


def test_a_host_that_does_not_answer_is_given_up() -> None:
    class Slow(Net):
        async def resolve(self, host: str, port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return ()

    with pytest.raises(ImageError, match=r"0\.01 s"):
        Slow().fetch("https://pictures.example/a.png", seconds=0.01)
