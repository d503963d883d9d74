"""The page's whole story, as a person goes through it."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright comes with the extra `dev`")
pytest.importorskip("fastapi", reason="fastapi comes with the extra `serve`")

from fake_server import Fake, made_edit, put
from PIL import Image
from playwright.sync_api import expect
from steps import answer_of, ask, correct, logged, press, preview, show_owl, width_of


def test_ask_correct_preview_commit_undo(open_page: Any, fake: Fake) -> None:
    tab = open_page()
    show_owl(tab)
    turn = ask(tab)
    assert answer_of(turn) == "owl"
    assert "No edit fired" in turn.locator(".source").inner_text()
    shown = preview(correct(turn))
    assert logged(shown) == ["q0", "q1", "q2", "q3"]
    assert "4 of 8 logged questions" in shown.locator("h3").inner_text()
    first = shown.locator(".logged").first
    assert first.locator(".before").inner_text() == "owl"
    assert first.locator(".after").inner_text() == "parrot"
    assert width_of(first.locator("img")) == 96
    assert fake.version == 0, "nothing is in force yet"
    press(shown, "Commit")
    expect(turn.locator(".notice.good")).to_contain_text("is in force")
    expect(turn.locator(".edited .answer")).to_have_text("parrot")
    expect(turn.locator(".untouched .answer")).to_have_text("owl")
    given = turn.locator(".given")
    expect(given).to_contain_text("What is this? owl")
    bar = given.locator("[role=img]")
    assert bar.get_attribute("aria-label") == "distance 0, inside the radius 4"
    expect(tab.locator("#about")).to_have_text("pocket · version 1")
    press(turn.locator(".notice"), "Undo")
    expect(turn.locator(".notice.good")).to_contain_text("is undone")
    expect(turn.locator(".edited .answer")).to_have_text("owl")
    assert [e["state"] for e in fake.edits.values()] == ["reverted"]


def test_an_answer_streams_and_can_be_stopped(open_page: Any, fake: Fake) -> None:
    fake.answer, fake.pieces, fake.pause = "a long answer of words", 2, 0.05
    tab = open_page()
    tab.fill(".composer textarea", "What is this?")
    press(tab, "Ask")
    answer = tab.locator(".edited .answer")
    expect(answer).to_contain_text("a lo")
    assert answer.locator(".caret").is_visible(), "it is still coming"
    assert tab.locator(".composer textarea").input_value() == ""
    press(tab, "Stop")
    expect(tab.locator(".notice.warn")).to_contain_text("Stopped")
    assert re.match("a lo", answer.inner_text()), "what came stays"
    fake.pause = 0
    press(tab, "Ask again")
    expect(answer).to_have_text("a long answer of words")


def test_a_conversation_is_about_one_picture(open_page: Any, fake: Fake) -> None:
    tab = open_page()
    show_owl(tab)
    ask(tab)
    second = ask(tab, "And its colour?")
    sent = fake.chats[-1]["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "user"]
    assert [p["type"] for p in sent[0]["content"]] == ["image_url", "text"]
    assert sent[1]["content"] == "owl"
    assert sent[2]["content"] == [{"type": "text", "text": "And its colour?"}]
    form = correct(second, "brown")
    assert "by itself, without the conversation" in form.inner_text()
    assert second.get_by_role("button", name="Why?", exact=True).count() == 0, (
        "which is of a question by itself"
    )
    press(tab, "New conversation")
    assert tab.locator(".turn").count() == 0
    ask(tab)
    assert len(fake.chats[-1]["messages"]) == 1


def test_the_slider_decides_at_once(open_page: Any, fake: Fake) -> None:
    tab = open_page()
    shown = preview(correct(ask(tab)))
    slider = shown.locator("input[type=range]")
    for wanted in ("500", "550", "600"):  # a drag
        slider.evaluate("(s, to) => { s.value = to; s.dispatchEvent(new Event('input')); }", wanted)
    expect(shown.locator("h3")).to_contain_text("5 of 8")
    decided = [r for r in fake.requests if r["what"].endswith("/radius")]
    assert len(decided) == 1, "once the slider rests"
    last = shown.locator(".logged").last
    assert "expected, not tried" in last.inner_text()
    assert last.locator(".after").inner_text() == "parrot"
    slider.fill("100")
    expect(shown.locator("h3")).to_contain_text("1 of 8")
    assert "learned 4" in shown.locator("output").inner_text()
    press(shown, "As learned")
    expect(shown.locator("h3")).to_contain_text("4 of 8")
    slider.fill("192")
    expect(shown.locator("h3")).to_contain_text("2 of 8")
    press(shown, "Commit")
    expect(tab.locator(".notice.good")).to_contain_text("is in force")
    (edit,) = fake.edits.values()
    assert edit["radius"] == pytest.approx(0.1 + 0.192 * 9.9)


def test_what_a_preview_leaves_open_is_said(open_page: Any, fake: Fake) -> None:
    fake.most, fake.undecided = 2, 3
    shown = preview(correct(ask(open_page())))
    assert "4 of 8" in shown.locator("h3").inner_text()
    assert "Of 3 it cannot be said." in shown.locator("h3").inner_text()
    assert "The 2 nearest are shown." in shown.inner_text()
    assert len(logged(shown)) == 2


def test_other_wordings_and_a_guess_are_sent(open_page: Any, fake: Fake) -> None:
    turn = ask(open_page())
    form = correct(turn)
    form.locator("summary").click()
    form.locator("textarea").fill("Which bird?\n\n  Name it. \n")
    form.locator("[type=checkbox]").check()
    with turn.page.expect_request("**/v1/edits") as sent:
        press(form, "Commit without a preview")
    body = sent.value.post_data_json
    assert body["rephrasings"] == ["Which bird?", "Name it."]
    assert body["new"] is True
    assert body["image"].startswith("data:image/png;base64,")
    expect(turn.locator(".edited .answer")).to_have_text("parrot")


def test_a_change_of_the_correction_takes_the_preview_away(open_page: Any) -> None:
    form = correct(ask(open_page()))
    shown = preview(form)
    form.locator("input[type=text]").fill("swan")
    expect(shown).to_have_count(0)
    assert preview(form).locator(".after").first.inner_text() == "swan"


def test_a_question_without_a_picture_is_answered_but_not_corrected(
    open_page: Any, fake: Fake
) -> None:
    tab = open_page()
    tab.fill(".composer textarea", "Who are you?")
    tab.press(".composer textarea", "Enter")
    expect(tab.locator(".turn .actions")).to_contain_text("ask about a picture")
    assert tab.locator("text=Correct this").count() == 0
    assert [p["type"] for p in fake.chats[-1]["messages"][0]["content"]] == ["text"]


def test_why(open_page: Any, fake: Fake) -> None:
    tab = open_page()
    show_owl(tab)
    owl = tab.get_attribute(".picture .shown", "src")
    put(fake, made_edit(fake, {"question": "What is this?", "answer": "parrot", "image": owl}))
    turn = ask(tab)
    press(turn, "Why?")
    expect(turn.locator(".why")).to_contain_text("fired: the question lies inside its radius.")
    assert turn.locator(".near [role=img]").count() == 1
    press(turn, "Why?")
    expect(turn.locator(".why")).to_have_count(0)


def picture(side: int = 8, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), "red").save(out, kind)
    return out.getvalue()


TRANSFER = """([kind, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type }));
  const how = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent(kind, { ...how, clipboardData: carried })
    : new DragEvent(kind, { ...how, dataTransfer: carried });
  document.querySelector("#main").dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["paste", "drop", "choose"])
def test_a_picture_comes_in_three_ways(open_page: Any, kind: str) -> None:
    tab = open_page()
    data = picture()
    if kind == "choose":
        file = {"name": "a.png", "mimeType": "image/png", "buffer": data}
        tab.set_input_files("input[type=file]", file)
    else:
        tab.evaluate(TRANSFER, [kind, "a.png", "image/png", base64.b64encode(data).decode()])
    shown = tab.locator(".picture .shown")
    shown.wait_for()
    assert shown.get_attribute("src").endswith(base64.b64encode(data).decode()), "byte for byte"
    assert "a.png" in tab.locator(".picture").inner_text()


def test_what_is_no_picture_leaves_the_one_there(open_page: Any) -> None:
    tab = open_page()
    show_owl(tab)
    before = tab.locator(".picture .shown").get_attribute("src")
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    tab.set_input_files("input[type=file]", file)
    expect(tab.locator(".notice.bad")).to_contain_text("“notes.txt” cannot be read as a picture.")
    assert tab.locator(".picture .shown").get_attribute("src") == before


@pytest.mark.parametrize(
    ("kind", "side", "note"), [("BMP", 8, "changed to PNG"), ("PNG", 6000, "made smaller")]
)
def test_pictures_are_made_fit_for_the_server(
    open_page: Any, kind: str, side: int, note: str
) -> None:
    tab = open_page()
    file = {"name": "a", "mimeType": f"image/{kind.lower()}", "buffer": picture(side, kind)}
    tab.set_input_files("input[type=file]", file)
    expect(tab.locator(".picture")).to_contain_text(note)
    shown = tab.locator(".picture .shown")
    _, _, data = shown.get_attribute("src").partition(",")
    made = Image.open(io.BytesIO(base64.b64decode(data)))
    assert made.format in ("PNG", "JPEG")
    assert made.width * made.height <= 16e6
    assert made.width == 2 * made.height
