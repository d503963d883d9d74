"""The lists of edits and of what was done: empty, loading, long, failing, and undone."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright comes with the extra `dev`")
pytest.importorskip("fastapi", reason="fastapi comes with the extra `serve`")

from fake_server import Fake, made_edit, put
from playwright.sync_api import expect
from steps import ask, press, width_of


def teach(fake: Fake, number: int = 1, **fact: Any) -> list[str]:
    """Put edits in force; their ids, oldest first."""
    about = {"question": "What is this?", "answer": "parrot"} | fact
    return [
        put(fake, made_edit(fake, about | {"image": f"picture {i}"}))["edit"]["id"]
        for i in range(number)
    ]


def go(tab: Any, name: str) -> None:
    tab.click(f"nav >> text={name}")


def ids(tab: Any) -> list[str]:
    return tab.locator(".entry").evaluate_all("all => all.map((one) => one.dataset.edit)")


def test_no_edits(open_page: Any) -> None:
    tab = open_page()
    go(tab, "Edits")
    expect(tab.locator(".nothing")).to_contain_text("No edit is in force")
    assert tab.title() == "Edits · balancedit"
    assert tab.evaluate("document.activeElement.textContent") == "Edits", "the heading, to read on"
    tab.click(".nothing a")
    tab.wait_for_selector("#view-ask:not([hidden])")


def test_what_is_being_fetched_has_a_place(open_page: Any, fake: Fake) -> None:
    held = fake.held["GET /v1/edits"] = threading.Event()
    tab = open_page()
    go(tab, "Edits")
    tab.wait_for_selector(".waiting")
    held.set()
    tab.wait_for_selector(".nothing")
    assert tab.locator(".waiting").count() == 0


def test_edits_come_page_by_page(open_page: Any, fake: Fake) -> None:
    made = teach(fake, 45)
    tab = open_page()
    go(tab, "Edits")
    expect(tab.locator(".entry")).to_have_count(20)
    press(tab, "Show more")
    expect(tab.locator(".entry")).to_have_count(40)
    assert tab.evaluate("document.activeElement.dataset.edit") == ids(tab)[20]
    fake.failing["GET /v1/edits"] = [(503, "the edits cannot be read")]
    press(tab, "Show more")
    expect(tab.locator(".notice.bad")).to_contain_text("not ready")
    assert tab.locator(".entry").count() == 40, "what was there stays"
    press(tab, "Try again")
    expect(tab.locator(".entry")).to_have_count(45)
    assert ids(tab) == made[::-1]
    assert tab.get_by_role("button", name="Show more", exact=True).count() == 0


def test_undoing_is_asked_for_twice_and_keeps_the_record(open_page: Any, fake: Fake) -> None:
    (name,) = teach(fake)
    tab = open_page()
    go(tab, "Edits")
    entry = tab.locator(".entry")
    press(entry, "Undo")
    press(entry, "Keep")
    assert fake.edits[name]["state"] == "active"
    press(entry, "Undo")
    press(entry, "Yes, undo it")
    expect(tab.locator(".notice.good")).to_contain_text(f"Edit {name[:8]} is undone.")
    expect(tab.locator(".nothing")).to_be_visible()
    tab.click("[data-state=all]")
    expect(entry.locator(".badge")).to_have_text("undone")
    assert entry.get_by_role("button", name="Undo", exact=True).count() == 0


def test_an_undo_that_fails(open_page: Any, fake: Fake) -> None:
    (name,) = teach(fake)
    fake.failing[f"POST /v1/edits/{name}/revert"] = [(503, "away")]
    tab = open_page()
    go(tab, "Edits")
    press(tab.locator(".entry"), "Undo")
    press(tab, "Yes, undo it")
    expect(tab.locator(".entry .notice.bad")).to_contain_text("not ready")
    press(tab.locator(".entry"), "Undo")
    press(tab, "Yes, undo it")
    expect(tab.locator(".nothing")).to_be_visible()


def test_what_an_edit_had_replaced_is_named_when_it_returns(open_page: Any, fake: Fake) -> None:
    first, second = teach(fake) + teach(fake, answer="swan")
    assert fake.edits[first]["retired_by"] == second
    tab = open_page()
    go(tab, "Edits")
    press(tab.locator(".entry"), "Undo")
    press(tab, "Yes, undo it")
    expect(tab.locator(".notice.good")).to_contain_text(f"{first[:8]} is in force again")
    expect(tab.locator(".entry")).to_have_attribute("data-edit", first)


def test_details(open_page: Any, fake: Fake) -> None:
    teach(fake, rephrasings=["Which bird?"])
    tab = open_page()
    go(tab, "Edits")
    tab.click(".entry summary")
    said = tab.locator(".facts").inner_text()
    for words in ("Which bird?", "whoever taught it", "1.3", "8.1", "18 steps"):
        assert words in said


@pytest.mark.parametrize("width", [360, 1100])
def test_long_and_right_to_left_texts(open_page: Any, fake: Fake, width: int) -> None:
    word = "Donaudampfschifffahrtsgesellschaftskapitän" * 8
    teach(fake, question=word, answer=f"{word} {word}")
    teach(fake, question="ما هذا الطائر؟", answer="ببغاء")
    tab = open_page(viewport={"width": width, "height": 700})
    go(tab, "Edits")
    tab.locator(".entry").first.wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    directions = tab.locator(".entry h2 bdi").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).direction)"
    )
    assert directions == ["rtl", "ltr"]
    heights = tab.locator(".entry h2").evaluate_all("all => all.map((one) => one.offsetHeight)")
    assert heights[1] <= 3.2 * heights[0], "a long question takes three lines"
    fake.answer = f"{word} {word}"
    go(tab, "Ask")
    ask(tab, "ما هذا؟ " * 30)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_audit(open_page: Any, fake: Fake) -> None:
    (name,) = teach(fake)
    fake.note("preview", None, "bk-1", {"considered": 8})
    fake.note("key added", None, "bk-1")
    tab = open_page()
    go(tab, "Audit")
    lines = tab.locator(".line")
    expect(lines).to_have_count(3)
    assert "bk-1 key added" in lines.nth(0).inner_text()
    assert "considered: 8" in lines.nth(1).inner_text()
    assert f"admin-key made an edit {name[:8]}" in lines.nth(2).inner_text()


def test_a_key_that_may_only_ask(open_page: Any, fake: Fake) -> None:
    teach(fake)
    tab = open_page("ask-key")
    tab.fill(".composer textarea", "What is this?")
    tab.press(".composer textarea", "Enter")
    tab.get_by_role("button", name="Why?", exact=True).wait_for()
    assert tab.locator("text=Correct this").count() == 0
    go(tab, "Edits")
    tab.locator(".entry").wait_for()
    assert tab.locator(".entry").get_by_role("button", name="Undo", exact=True).count() == 0
    go(tab, "Audit")
    expect(tab.locator(".nothing")).to_contain_text("needs a key with the scope admin")


def test_a_key_for_several_tenants_chooses_one(open_page: Any, fake: Fake) -> None:
    fake.tenants = ["default", "zoo"]
    teach(fake)
    tab = open_page()
    width_of(ask(tab).locator(".given img"))
    assert fake.tenants_asked[0] == "default"
    tab.select_option("#tenants", "zoo")
    assert tab.locator(".turn").count() == 0, "nothing of another's stays"
    fake.tenants_asked.clear()
    go(tab, "Edits")
    assert width_of(tab.locator(".entry img")) == 96
    assert set(fake.tenants_asked) == {"zoo"}, "pictures too"
