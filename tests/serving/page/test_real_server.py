"""The page before the server as it is started by hand, with the default model."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright comes with the extra `dev`")
pytest.importorskip("fastapi", reason="fastapi comes with the extra `serve`")

from playwright.sync_api import expect
from steps import answer_of, ask, correct, logged, press, preview, show_owl, width_of

PATIENCE = 120_000  # milliseconds, of a machine that is busy with other tests


@pytest.fixture
def link(tmp_path: Path) -> Iterator[str]:
    """What the server prints to open the page by."""
    places = ["--edits", str(tmp_path / "edits"), "--keys", str(tmp_path / "keys.json")]
    log = ["--query-log", str(tmp_path / "asked.sqlite3")]
    server = subprocess.Popen(
        [sys.executable, "-m", "balancedit", "serve", "--port", "0", *places, *log],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        found = next((m for line in server.stdout if (m := re.match(r"page +(\S+)", line))), None)
        assert found is not None, "the server ended before it was ready"
        yield found[1]
    finally:
        server.terminate()
        server.wait(60)


def test_the_whole_story(browser: Any, link: str) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda said: faults.append(said.text) if "Policy" in said.text else None)
    tab.goto(link)
    show_owl(tab)
    turn = ask(tab)
    before = answer_of(turn)
    assert before != "parrot"
    shown = preview(correct(turn))
    assert len(logged(shown)) == 1, "the question itself, which was logged"
    assert shown.locator(".before").inner_text() == before
    assert shown.locator(".after").inner_text() == "parrot"
    assert width_of(shown.locator("img")) > 0
    slider = shown.locator("input[type=range]")
    with tab.expect_response("**/radius"):
        slider.press("End")
    expect(shown.locator(".logged")).to_have_count(1)
    press(shown, "As learned")
    press(shown, "Commit")
    expect(turn.locator(".edited .answer")).to_have_text("parrot")
    expect(turn.locator(".untouched .answer")).to_have_text(before)
    assert "inside the radius" in turn.locator(".given").inner_text()
    press(turn, "Why?")
    turn.locator(".near").wait_for()
    tab.click("nav >> text=Edits")
    entry = tab.locator(".entry")
    assert "parrot" in entry.locator(".after").inner_text()
    assert width_of(entry.locator("img")) > 0
    press(entry, "Undo")
    press(entry, "Yes, undo it")
    expect(tab.locator("#view-edits .notice.good")).to_contain_text("is undone")
    tab.click("nav >> text=Audit")
    expect(tab.locator(".line")).to_have_count(3)
    tab.click("nav >> text=Ask")
    expect(turn.locator(".notice")).to_contain_text("is no longer in force")
    press(tab, "New conversation")
    assert answer_of(ask(tab)) == before
    assert faults == []
    context.close()
