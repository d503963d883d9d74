"""The review page, looked at and used in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from published import write_pictures

from balancedit.data import jsonl, marks, review
from balancedit.data.catalogue import find
from balancedit.data.check import check
from balancedit.data.sample import EditSample, FileImage, LocalityProbe
from balancedit.errors import DataError
from chromium import launched

EVIL = "</script><script>document.title = 'broken'</script><!-- & \u2028"


def made(root: Path, i: int) -> EditSample:
    return EditSample(
        id=f"edit{i}",
        image=FileImage(root, f"images/{i}.png"),
        question=f"What is thing {i}? {EVIL if i == 2 else ''}".strip(),
        target=f"new{i}",
        original_answer=f"old{i}",
        rephrases=(f"Which thing is {i}?", f"Name thing {i}?"),
        image_rephrases=tuple(FileImage(root, f"images/{i}-{k}.png") for k in range(2)),
        locality=(
            LocalityProbe("similar", FileImage(root, f"images/{i}-near.png"), "What?", "near"),
            LocalityProbe("unrelated", None, "Who wrote it?", "Ann"),
        ),
        portability=(),
        category="even" if i % 2 == 0 else "odd",
        kind="text based" if i < 3 else "image-text based",
        shows=f"thing {i}",
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Twenty-five edits; a picture of the fourth is missing, another is damaged."""
    root = tmp_path / "data"
    samples = [made(root, i) for i in range(25)]
    write_pictures(samples)
    (root / "images" / "3-0.png").unlink()
    (root / "images" / "4.png").write_bytes(b"no picture")
    (root / "mine.jsonl").write_text("\n".join(json.dumps(jsonl.line(s)) for s in samples))
    return root


def page(directory: Path, most: int | None = None) -> Path:
    path = directory.parent / "review.html"
    review.write(path, directory, check(None, directory)[1], most)
    return path


def test_the_page_stands_alone_and_holds_everything(directory: Path) -> None:
    text = page(directory).read_text()
    held = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    data = json.loads(held)
    shown = data["parts"]["mine"]
    assert len(shown) == 25
    assert shown[2]["question"].endswith(EVIL.strip())
    assert shown[0]["image"]["data"].startswith("data:image/")
    assert "no file" in shown[3]["image_rephrases"][0]["problem"]
    assert [w.split(":")[0] for w in shown[3]["warnings"]] == ["missing-image"]
    assert "http" not in text.replace(held, "")
    assert str(directory) not in json.dumps([s for i, s in enumerate(shown) if i not in (3, 4)])


def test_only_the_first(directory: Path, tmp_path: Path) -> None:
    assert review.write(tmp_path / "a.html", directory, check(None, directory)[1], 3) == 3
    with pytest.raises(DataError, match="cannot be written"):
        review.write(tmp_path / "none" / "a.html", directory, check(None, directory)[1], 3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as opened:
        yield opened


@pytest.fixture
def tab(browser: Any, directory: Path) -> Iterator[Any]:
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.problems = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.goto(page(directory).as_uri())
    yield opened
    assert opened.problems == []
    context.close()


def ids(tab: Any) -> list[str]:
    return tab.eval_on_selector_all("article", "all => all.map(a => a.dataset.id)")


def test_paging(tab: Any) -> None:
    assert tab.title() == "Review"
    assert ids(tab) == [f"edit{i}" for i in range(10)]
    assert tab.inner_text("#place") == "page 1 of 3, 25 edits"
    assert tab.is_disabled("#previous")
    tab.click("#next")
    tab.click("#next")
    assert ids(tab) == [f"edit{i}" for i in range(20, 25)]
    assert tab.is_disabled("#next")


def test_pictures_texts_and_warnings(tab: Any) -> None:
    first = tab.locator("article").nth(0)
    assert first.locator("img").count() == 4
    assert (
        first.locator("img").evaluate_all(
            "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
        )
        == [16] * 4
    )
    assert "old0 → new0" in first.inner_text()
    assert "similar: What? near" in first.inner_text()
    first.locator("summary").first.click()
    assert "Which thing is 0?" in first.inner_text()
    assert EVIL.strip() in tab.locator("article h2").nth(2).text_content()
    third = tab.locator("article").nth(3)
    assert "missing-image: names images/3-0.png" in third.inner_text()
    assert third.locator("img").count() == 3
    assert "not a picture" in tab.locator("article").nth(4).inner_text()


def test_filters(tab: Any) -> None:
    tab.select_option("#category", "odd")
    assert ids(tab)[:3] == ["edit1", "edit3", "edit5"]
    tab.select_option("#kind", "text based")
    assert ids(tab) == ["edit1"]
    tab.select_option("#category", "")
    tab.select_option("#kind", "")
    tab.fill("#search", "NEW24")
    assert ids(tab) == ["edit24"]
    tab.fill("#search", "")
    tab.check("#warned")
    assert ids(tab) == ["edit3"]


def test_marks_are_exported_and_honoured(tab: Any, directory: Path) -> None:
    tab.locator("article").nth(1).locator("button.drop").click()
    tab.locator("article").nth(5).locator("button.drop").click()
    tab.locator("article").nth(5).locator("button.drop").click()  # taken back
    tab.locator("article").nth(2).locator("button.keep").click()
    tab.click("#next")
    tab.locator("article").nth(0).locator("button.drop").click()
    note = tab.locator("article").nth(0).locator(".note")
    note.fill("not a thing")
    note.blur()
    assert tab.inner_text("#count") == "3 marked, 2 to drop"
    tab.select_option("#marked", "drop")
    assert ids(tab) == ["edit1", "edit10"]
    with tab.expect_download() as download:
        tab.click("#export")
    assert download.value.suggested_filename == marks.FILE
    download.value.save_as(directory / marks.FILE)
    assert marks.read(directory) == {
        "mine": {
            "edit1": {"mark": "drop", "note": ""},
            "edit2": {"mark": "keep", "note": ""},
            "edit10": {"mark": "drop", "note": "not a thing"},
        }
    }
    kept = [s.id for s in find(str(directory)).load("mine")]
    assert len(kept) == 23
    assert not {"edit1", "edit10"} & {*kept}
    tab.reload()  # marks outlive the page
    assert tab.inner_text("#count") == "3 marked, 2 to drop"


def test_marks_in_the_directory_are_shown(browser: Any, directory: Path) -> None:
    held = {"mine": {"edit0": {"mark": "drop", "note": "old"}}}
    (directory / marks.FILE).write_text(json.dumps({"format": marks.FORMAT, "marks": held}))
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page(directory).as_uri())
    assert ids(tab)[0] == "edit0"
    first = tab.locator("article").nth(0)
    assert first.locator("button.drop").get_attribute("aria-pressed") == "true"
    assert first.locator(".note").input_value() == "old"
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(browser: Any, directory: Path, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe comes with the extra `dev`"
    )
    context = browser.new_context(color_scheme=scheme)
    tab = context.new_page()
    tab.goto(page(directory).as_uri())
    tab.locator("button.keep").nth(0).click()
    tab.locator("button.drop").nth(1).click()
    tab.locator("summary").first.click()
    found = axe.Axe().run(tab).response["violations"]
    assert [(v["id"], v["nodes"][0]["failureSummary"]) for v in found] == []
    context.close()


def test_a_phone_s_width(browser: Any, directory: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640})
    tab = context.new_page()
    tab.goto(page(directory).as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.fill("#search", "nothing is called so")
    assert "Choose fewer filters" in tab.inner_text("main")
    context.close()


def test_a_screen(tab: Any, tmp_path: Path) -> None:
    tab.screenshot(path=str(tmp_path / "a.png"))
    colours = Image.open(tmp_path / "a.png").convert("RGB").getcolors(1 << 20)
    assert len(colours) > 20
