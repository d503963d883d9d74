"""The page before a server that is made up, in a browser that is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_server import Fake, running, some_log

from chromium import launched

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as opened:
        from playwright.sync_api import expect

        expect.set_options(timeout=15_000)
        yield opened


@pytest.fixture
def fake() -> Fake:
    """What the server holds and does."""
    return Fake(logged=some_log())


@pytest.fixture
def address(fake: Fake) -> Iterator[str]:
    with running(fake) as found:
        yield found


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[OpenPage]:
    """Opens the page in a tab of its own, signed in by the printed link unless key is None. No
    script may fail in it, nor may it break its policy or reach beyond its server."""
    contexts, faults = [], []

    def opened(key: str | None = "admin-key", **how: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **how})
        contexts.append(context)
        context.set_default_timeout(15_000)
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda line: faults.append(line.text) if _is_fault(line.text) else None)
        tab.on("request", lambda sent: faults.append(sent.url) if _beyond(sent.url) else None)
        tab.goto(address if key is None else f"{address}#key={key}")
        if key is not None:
            tab.wait_for_selector("#view-ask:not([hidden])")
        return tab

    def _beyond(url: str) -> bool:
        return not url.startswith((address, "data:", "blob:"))

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _is_fault(line: str) -> bool:
    return "Content Security Policy" in line or "TrustedHTML" in line or "Uncaught" in line
