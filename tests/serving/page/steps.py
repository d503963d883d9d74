"""What a person does on the page, step by step."""

from __future__ import annotations

from typing import Any


def press(where: Any, name: str) -> None:
    """Press the one button that is called so."""
    where.get_by_role("button", name=name, exact=True).click()


def show_owl(tab: Any) -> None:
    """Take the picture that the page offers."""
    tab.click("text=Try an owl")
    tab.wait_for_selector(".picture .shown")


def ask(tab: Any, question: str = "What is this?") -> Any:
    """Ask, about the owl if there is no picture yet; the turn, once it is answered."""
    if not tab.locator(".picture .shown").count():
        show_owl(tab)
    tab.fill(".composer textarea", question)
    tab.press(".composer textarea", "Enter")
    turn = tab.locator(".turn").last
    turn.locator("text=Correct this").wait_for()
    return turn


def answer_of(turn: Any) -> str:
    """What stands there as the answer."""
    return turn.locator(".edited .answer").inner_text()


def correct(turn: Any, answer: str = "parrot") -> Any:
    """Say what it should answer; the form."""
    turn.locator("text=Correct this").click()
    form = turn.locator(".correction")
    form.locator("input[type=text]").fill(answer)
    return form


def preview(form: Any) -> Any:
    """See what would change; the preview."""
    form.locator("button[type=submit]").click()
    shown = form.locator(".preview")
    shown.wait_for()
    return shown


def logged(shown: Any) -> list[str]:
    """The logged questions that a preview shows."""
    return shown.locator(".logged").evaluate_all("all => all.map((one) => one.dataset.query)")


def width_of(image: Any) -> int:
    """How wide a picture is, once it is there."""
    return image.evaluate(
        """i => new Promise((done) => i.naturalWidth ? done(i.naturalWidth)
          : i.addEventListener('load', () => done(i.naturalWidth)))"""
    )
