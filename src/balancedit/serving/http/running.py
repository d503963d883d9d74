"""Running the application: an address of its own, and an end at which nothing under way is lost."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server

from balancedit.errors import InputError
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings

_KEPT_OPEN = 20  # seconds that a connection may rest between requests
_BACKLOG = 512


def check_exposed(settings: ServeSettings, has_keys: bool) -> None:
    """Raise `InputError` where others than this machine could reach a server without keys."""
    if not settings.loopback and not has_keys:
        raise InputError(
            f"'{settings.host}' can be reached from other machines, and there is no key yet; make "
            "one with `balancedit serve keys add`, or leave --host out"
        )


def bound(host: str, port: int) -> socket.socket:
    """A socket with that address, before anything slow is done. Raises `InputError`."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except BaseException:
            made.close()
            raise
        return made
    except OSError as error:
        raise InputError(
            f"{host} port {port} cannot be listened at ({error.strerror or error}); choose another "
            "with --port or --host"
        ) from error


def address(listening: socket.socket, https: bool = False) -> str:
    """The URL of a socket; for one that listens everywhere, as this machine reaches it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http{'s' * https}://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """Uvicorn's, which says when it listens."""

    def __init__(
        self, app: FastAPI, settings: ServeSettings, ready: Callable[[], None] | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,  # `logs.start` has it
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEPT_OPEN,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()


def run(
    app: FastAPI, settings: ServeSettings, listening: socket.socket, ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is under way, and return. ready: called when
    the server listens."""
    services: Services = app.state.services
    with _ends_quietly(), _figures(services, settings):
        asyncio.run(Server(app, settings, ready).serve([listening]))


@contextmanager
def _figures(services: Services, settings: ServeSettings) -> Iterator[None]:
    """The figures on a port of their own, where there is one."""
    if settings.metrics_port is None:
        yield
        return
    try:
        server, thread = start_http_server(
            settings.metrics_port, settings.metrics_host, services.metrics.registry
        )
    except OSError as error:
        raise InputError(
            f"port {settings.metrics_port} cannot be listened at ({error.strerror or error}); "
            "choose another with --metrics-port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _ends_quietly() -> Iterator[None]:
    """Uvicorn raises the signal that ended it once more when all is done; here it ends nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ignore(signum: int, frame: FrameType | None) -> None:
        pass

    former = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            with suppress(TypeError, ValueError):
                signal.signal(number, handler)
