"""Whatever goes wrong is said in words with a remedy, and nothing that was written is lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright comes with the extra `dev`")
pytest.importorskip("fastapi", reason="fastapi comes with the extra `serve`")

from fake_server import Fake
from playwright.sync_api import expect
from steps import answer_of, ask, correct, press, preview

CHAT, COMMIT = "POST /v1/chat/completions", "POST /v1/edits"


def test_a_wrong_key_is_said_and_kept_to_be_mended(open_page: Any) -> None:
    tab = open_page(None)
    tab.fill("input[type=password]", "edit-kex")
    tab.press("input[type=password]", "Enter")
    expect(tab.locator(".notice.bad")).to_contain_text("That key is not known here.")
    assert tab.input_value("input[type=password]") == "edit-kex"
    tab.fill("input[type=password]", "edit-key")
    press(tab, "Sign in")
    tab.wait_for_selector("#view-ask:not([hidden])")


def test_the_link_s_key_does_not_stay_in_the_address(open_page: Any, address: str) -> None:
    tab = open_page()
    assert tab.url == address
    tab.reload()
    tab.wait_for_selector("#view-ask:not([hidden])")  # by the cookie
    assert tab.evaluate("document.cookie") == ""
    press(tab, "Sign out")
    tab.wait_for_selector("input[type=password]")
    tab.reload()
    tab.wait_for_selector("input[type=password]")


def test_a_link_opens_where_a_session_is_held_already(open_page: Any, address: str) -> None:
    tab = open_page("ask-key")
    tab.goto("about:blank")
    tab.goto(f"{address}#key=edit-key")
    ask(tab)  # which offers to correct it, as the other key may not


def test_a_wrong_link(open_page: Any, address: str) -> None:
    tab = open_page(None)
    tab.goto("about:blank")
    tab.goto(f"{address}#key=wrong")
    expect(tab.locator(".notice.bad")).to_contain_text("not known here")
    assert tab.url == address


def test_a_session_that_ends_is_begun_again_in_the_middle(open_page: Any, fake: Fake) -> None:
    tab = open_page()
    form = correct(ask(tab))
    fake.sessions.clear()
    form.locator("button[type=submit]").click()
    dialog = tab.locator("dialog")
    expect(dialog).to_contain_text("What you wrote is still here")
    dialog.locator("input").fill("edit-key")
    dialog.locator("button").click()
    expect(form.locator(".preview h3")).to_contain_text("4 of 8")
    assert form.locator("input[type=text]").input_value() == "parrot"


def test_another_tab_s_session_is_taken_over(open_page: Any, address: str) -> None:
    tab = open_page("edit-key")
    other = tab.context.new_page()
    other.goto(f"{address}#key=admin-key")
    other.wait_for_selector("#view-ask:not([hidden])")
    assert answer_of(ask(tab)) == "owl"
    assert tab.locator("dialog").count() == 0


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (400, "the question is too long; shorten it", ["cannot be used", "shorten it"]),
        (403, "this key is for nothing", ["may not do that", "This key is for nothing."]),
        (413, "the body is larger than 12 MB", ["too large", "The body is larger"]),
        (429, "busy", ["busy", "Try again in 3 seconds"]),
        (500, "the server failed at this", ["could not do this"]),
        (503, "draining", ["not ready", "Try again"]),
        (504, "deadline", ["took longer", "Try again"]),
    ],
)
def test_an_answer_that_is_refused(
    open_page: Any, fake: Fake, status: int, message: str, words: list[str]
) -> None:
    fake.failing[CHAT] = [(status, message)]
    tab = open_page()
    tab.fill(".composer textarea", "What is this?")
    tab.press(".composer textarea", "Enter")
    said = tab.locator(".turn .notice.bad")
    said.wait_for()
    for word in words:
        assert word in said.inner_text()
    press(said, "Ask again")
    expect(tab.locator(".edited .answer")).to_have_text("owl")


def test_a_question_that_failed_goes_back_to_be_changed(open_page: Any, fake: Fake) -> None:
    fake.failing[CHAT] = [(400, "no")]
    tab = open_page()
    tab.fill(".composer textarea", "Wat is this?")
    tab.press(".composer textarea", "Enter")
    tab.locator(".turn .notice.bad").wait_for()
    tab.fill(".composer textarea", "and more")
    press(tab, "Change the question")
    assert tab.input_value(".composer textarea") == "Wat is this?\nand more"
    assert tab.locator(".turn").count() == 0
    tab.reload()
    tab.wait_for_selector(".composer textarea")
    assert tab.input_value(".composer textarea") == "Wat is this?\nand more", "a draft is kept"


def test_an_answer_that_breaks_off(open_page: Any, fake: Fake) -> None:
    fake.answer, fake.breaking = "a barn owl", 2
    tab = open_page()
    tab.fill(".composer textarea", "What is this?")
    tab.press(".composer textarea", "Enter")
    expect(tab.locator(".turn .notice.bad")).to_contain_text("took longer than the server allows")
    assert answer_of(tab.locator(".turn")) == "a barn"
    fake.breaking = None
    press(tab, "Ask again")
    expect(tab.locator(".edited .answer")).to_have_text("a barn owl")


def test_a_server_that_is_away(open_page: Any) -> None:
    tab = open_page()
    tab.route("**/v1/**", lambda route: route.abort())
    tab.fill(".composer textarea", "What is this?")
    tab.press(".composer textarea", "Enter")
    expect(tab.locator(".turn .notice.bad")).to_contain_text("cannot be reached")
    tab.unroute_all()
    press(tab, "Ask again")
    expect(tab.locator(".edited .answer")).to_have_text("owl")
    tab.route("**/v1/**", lambda route: route.abort())
    tab.reload()
    expect(tab.locator(".gate .notice.bad")).to_contain_text("cannot be reached")
    tab.unroute_all()
    press(tab, "Try again")
    tab.wait_for_selector("#view-ask:not([hidden])")


def test_edits_that_changed_meanwhile(open_page: Any, fake: Fake) -> None:
    form = correct(ask(open_page()))
    shown = preview(form)
    fake.version += 1
    press(shown, "Commit")
    said = form.locator(".notice.bad")
    expect(said).to_contain_text("The edits have changed since you looked.")
    assert fake.edits == {}
    assert form.locator("input[type=text]").input_value() == "parrot"
    press(said, "Preview again")
    press(form.locator(".preview"), "Commit")
    expect(form.page.locator(".notice.good")).to_contain_text("is in force")


def test_a_preview_that_has_expired(open_page: Any, fake: Fake) -> None:
    form = correct(ask(open_page()))
    shown = preview(form)
    fake.previews.clear()
    shown.locator("input[type=range]").fill("300")
    said = form.locator(".notice.bad")
    expect(said).to_contain_text("The preview has expired; preview again.")
    press(said, "Preview again")
    shown.wait_for()


def test_a_slider_s_failure_keeps_where_it_is(open_page: Any, fake: Fake) -> None:
    shown = preview(correct(ask(open_page())))
    fake.failing["POST /v1/edits/preview/p0/radius"] = [(503, "away")]
    slider = shown.locator("input[type=range]")
    slider.fill("100")
    press(shown.locator(".notice.bad"), "Try again")
    expect(shown.locator("h3")).to_contain_text("1 of 8")
    assert slider.input_value() == "100"


def test_a_commit_whose_reply_is_lost_is_made_once(open_page: Any, fake: Fake) -> None:
    tab = open_page()
    form = correct(ask(tab))

    def lose(route: Any) -> None:
        route.fetch()  # it is carried out
        route.abort()

    tab.route("**/v1/edits", lose, times=1)
    press(form, "Commit without a preview")
    expect(form.locator(".notice.bad")).to_contain_text("cannot be reached")
    assert len(fake.edits) == 1
    press(form, "Try again")
    expect(tab.locator(".notice.good")).to_contain_text("is in force")
    assert len(fake.edits) == 1
    sent = [r["idempotency-key"] for r in fake.requests if r["what"] == COMMIT]
    assert len(sent) == 2
    assert len(set(sent)) == 1


def test_a_commit_under_way_cannot_be_left(open_page: Any, fake: Fake) -> None:
    held = fake.held[COMMIT] = threading.Event()
    tab = open_page()
    form = correct(ask(tab))
    press(form, "Commit without a preview")
    field = form.locator("input[type=text]")
    expect(field).not_to_be_editable()
    field.press("Escape")
    assert form.is_visible()
    assert form.get_by_role("button", name="Stop").count() == 0
    held.set()
    expect(tab.locator(".notice.good")).to_contain_text("is in force")


def test_a_preview_can_be_stopped(open_page: Any, fake: Fake) -> None:
    held = fake.held["POST /v1/edits/preview"] = threading.Event()
    form = correct(ask(open_page()))
    form.locator("button[type=submit]").click()
    press(form, "Stop")
    expect(form.locator(".notice.warn")).to_contain_text("Nothing was put in force.")
    held.set()
    press(form, "Try again")
    expect(form.locator(".preview h3")).to_contain_text("4 of 8")


def test_an_answer_that_is_missing(open_page: Any, fake: Fake) -> None:
    form = correct(ask(open_page()), "  ")
    press(form, "Commit without a preview")
    expect(form.locator(".notice.bad")).to_contain_text("Write what it should answer.")
    assert form.locator("input[type=text]").get_attribute("aria-invalid") == "true"
    assert fake.edits == {}


def test_a_log_without_questions(open_page: Any, fake: Fake) -> None:
    fake.logged = []
    shown = preview(correct(ask(open_page())))
    assert "query log is off or empty" in shown.inner_text()
    press(shown, "Commit")
    expect(shown.page.locator(".notice.good")).to_contain_text("is in force")


EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


def test_what_was_written_never_becomes_markup(open_page: Any, fake: Fake) -> None:
    fake.answer = f"owl {EVIL}"
    fake.logged = [
        {"id": "q0", "picture": "owl", "question": EVIL, "before": fake.answer, "distance": 1.0}
    ]
    tab = open_page()
    turn = ask(tab, EVIL)
    assert answer_of(turn) == f"owl {EVIL}"
    shown = preview(correct(turn, f"new {EVIL}"))
    assert EVIL in shown.locator(".logged").inner_text()
    press(shown, "Commit")
    expect(tab.locator(".notice.good")).to_contain_text("is in force")
    tab.click("nav >> text=Edits")
    expect(tab.locator(".entry h2")).to_have_text(EVIL)
    tab.click("nav >> text=Audit")
    tab.locator(".line").first.wait_for()
    assert tab.title() == "Audit · balancedit"
    assert tab.locator("[onerror]").count() == 0
