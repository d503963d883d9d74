"""The page by the keyboard alone, on a phone, in the dark, without motion, and as axe sees it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright comes with the extra `dev`")
pytest.importorskip("fastapi", reason="fastapi comes with the extra `serve`")
pytest.importorskip("axe_playwright_python", reason="axe comes with the extra `dev`")

from axe_playwright_python.sync_playwright import Axe
from fake_server import Fake, made_edit, put
from playwright.sync_api import expect
from steps import ask, correct, press, preview, show_owl

PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}


def tab_to(tab: Any, words: str, most: int = 40) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(most):
        tab.keyboard.press("Tab")
        here = tab.evaluate(
            """() => { const at = document.activeElement, [label] = at.labels ?? [];
              return at.getAttribute('aria-label') ?? (label ?? at).textContent; }"""
        )
        if words in here:
            return
    raise AssertionError(f"no Tab leads to '{words}'")


def test_the_whole_story_by_the_keyboard(open_page: Any, fake: Fake) -> None:
    tab = open_page(None)
    tab.wait_for_selector("input[type=password]:focus")
    tab.keyboard.type("admin-key")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#view-ask:not([hidden])")
    tab_to(tab, "Try an owl")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".picture .shown")
    tab_to(tab, "Your question")
    tab.keyboard.type("What is this?")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=Correct this")
    tab.keyboard.press("Shift+Tab")
    for _ in range(2):
        if "Correct" not in tab.evaluate("document.activeElement.textContent"):
            tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Enter")
    tab.keyboard.type("parrot")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".preview")
    tab_to(tab, "Reach")
    for _ in range(2):
        tab.keyboard.press("PageDown")
    expect(tab.locator(".preview h3")).to_contain_text("2 of 8")
    tab_to(tab, "Commit")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".notice.good")
    expect(tab.locator(".edited .answer")).to_have_text("parrot")
    expect(tab.locator(":focus")).to_have_text("Undo")
    tab.keyboard.press("Enter")
    expect(tab.locator(".notice.good")).to_contain_text("is undone")
    expect(tab.locator(".edited .answer")).to_have_text("owl")


def test_escape_closes_a_correction_and_returns(open_page: Any) -> None:
    tab = open_page()
    correct(ask(tab))
    tab.keyboard.press("Escape")
    assert tab.locator(".correction").count() == 0
    expect(tab.locator(":focus")).to_have_text("Correct this")


def test_the_focus_is_never_lost(open_page: Any, fake: Fake) -> None:
    fake.failing["POST /v1/edits"] = [(503, "away")]
    fake.pause = 0.1
    tab = open_page()
    show_owl(tab)
    tab.fill(".composer textarea", "What is this?")
    tab.press(".composer textarea", "Enter")
    tab.focus("text=Stop")
    expect(tab.locator(":focus")).to_have_text("Correct this")  # once the answer is whole
    press(correct(tab.locator(".turn")), "Commit without a preview")
    expect(tab.locator(":focus")).to_have_text("Commit without a preview")
    shown = preview(tab.locator(".correction"))
    fake.failing["POST /v1/edits"] = [(503, "away")]
    press(shown, "Commit")
    expect(tab.locator(":focus")).to_have_text("Try again")
    tab.keyboard.press("Enter")
    expect(tab.locator(":focus")).to_have_text("Undo")


def test_skipping_the_bar(open_page: Any) -> None:
    tab = open_page()
    tab.keyboard.press("Tab")
    skip = tab.locator("#skip:focus")
    assert skip.bounding_box()["y"] >= 0
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_what_has_the_focus_is_seen(open_page: Any) -> None:
    tab = open_page()
    tab_to(tab, "Edits")
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "2px"


def test_an_answer_is_said_once_it_is_whole(open_page: Any) -> None:
    tab = open_page()
    ask(tab)
    expect(tab.locator("#spoken")).to_have_text("Answer: owl")


def states(tab: Any, fake: Fake) -> Any:
    """The page in its states, one after another, by name."""
    yield "empty"
    show_owl(tab)
    turn = ask(tab)
    yield "answer"
    form = correct(turn)
    form.locator("summary").click()
    shown = preview(form)
    yield "preview"
    press(shown, "Commit")
    expect(turn.locator(".untouched .answer")).to_have_text("owl")
    press(turn, "Why?")
    turn.locator(".near").wait_for()
    yield "corrected"
    fake.failing["POST /v1/chat/completions"] = [(503, "away")]
    tab.fill(".composer textarea", "And what is that?")
    tab.press(".composer textarea", "Enter")
    tab.locator(".turn .notice.bad").wait_for()
    yield "error"
    edit = made_edit(fake, {"question": "ما هذا؟", "answer": "ببغاء", "image": None})
    put(fake, edit | {"warnings": ["the radius is a guess; give other wordings"]})
    tab.click("nav >> text=Edits")
    tab.locator(".entry summary").first.click()
    press(tab.locator(".entry").first, "Undo")
    yield "edits"
    tab.click("nav >> text=Audit")
    tab.locator(".line").first.wait_for()
    yield "audit"
    fake.sessions.clear()
    tab.click("nav >> text=Edits")
    tab.locator("dialog").wait_for()
    yield "dialog"


def violations(tab: Any) -> list[str]:
    """What axe has against the page, one line each."""
    found = Axe().run(tab).response["violations"]
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found for n in v["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(open_page: Any, fake: Fake, scheme: str) -> None:
    gate = open_page(None, color_scheme=scheme)
    gate.wait_for_selector("input[type=password]")
    assert violations(gate) == []
    tab = open_page(color_scheme=scheme, reduced_motion="reduce")
    assert {name: violations(tab) for name in states(tab, fake)} == {
        name: []
        for name in ("empty", "answer", "preview", "corrected", "error", "edits", "audit", "dialog")
    }


def test_a_phone(open_page: Any, fake: Fake) -> None:
    tab = open_page(**PHONE)
    for name in states(tab, fake):
        wide = tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{name} scrolls sideways"
        small = tab.locator("button:visible, a:visible, summary:visible").evaluate_all(
            """all => all.filter((one) => one.getBoundingClientRect().height < 24
              && getComputedStyle(one).display !== 'inline').map((one) => one.textContent)"""
        )
        assert small == [], f"{name} has targets too small for a finger"


def test_light_dark_and_without_motion(open_page: Any) -> None:
    def ground(scheme: str) -> str:
        tab = open_page(color_scheme=scheme, reduced_motion="reduce")
        assert tab.evaluate(
            "getComputedStyle(document.querySelector('button.main')).transitionDuration"
        ) in ("0s", "0s, 0s")
        return tab.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = ground("light"), ground("dark")
    assert light != dark
