"""Chromium for the tests of pages: playwright's own, or the one that BALANCEDIT_CHROMIUM or the
path names. Where there is none they are skipped, but never where one is named, as `.ci/run` does
wherever it can have one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-zygote"]


@contextmanager
def launched() -> Iterator[Any]:
    """A browser, closed at the end."""
    named = os.environ.get("BALANCEDIT_CHROMIUM")
    if not named:
        pytest.importorskip("playwright.sync_api", reason="playwright comes with the extra `dev`")
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as running:
        try:
            browser = running.chromium.launch(
                executable_path=named or shutil.which("chromium"), args=FLAGS
            )
        except Error as error:
            if named:
                raise
            pytest.skip(f"no Chromium to test in ({str(error).splitlines()[0]})")
        yield browser
        browser.close()
