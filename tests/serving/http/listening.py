"""A server on a port of this machine, for clients that want a real one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from balancedit.serving.http import running
from balancedit.serving.http.app import create_app
from balancedit.serving.http.services import Services


@dataclass
class Listening:
    """A server that listens at `address`; `call` runs something in its event loop's thread."""

    address: str
    server: running.Server
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def call(self, work: Callable[[], Any]) -> None:
        self.loop.call_soon_threadsafe(work)

    def stop(self) -> None:
        """As SIGTERM does."""
        self.server.should_exit = True


@contextmanager
def listening(services: Services) -> Iterator[Listening]:
    """Serve until the context ends."""
    app: FastAPI = create_app(services)
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    with running.bound("127.0.0.1", 0) as socket:
        server = running.Server(app, services.settings, ready.set)

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            await server.serve([socket])

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert ready.wait(20)
            yield Listening(running.address(socket), server, loops[0], thread)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
