"""What reaches the terminal, in any script: nothing that steers it, and columns that line up."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.console import Console
from rich.table import Table

from balancedit.cli import output
from balancedit.cli.list_ import edit_table
from languages import LANGUAGES, Language
from store_cases import make_edit

FSI, PDI = output.ISOLATE, output.POP
PARTED = "\N{REPLACEMENT CHARACTER}"


def columns(text: str) -> int:
    """Columns of a text by Unicode's own properties: two for wide characters, none for marks,
    vowels and finals of Korean syllables, and what is not seen."""
    return sum(
        0
        if unicodedata.category(c)[0] == "M"
        or unicodedata.category(c) == "Cf"
        or "\u1160" <= c <= "\u11ff"
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def printed(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, markup=False).print(table)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_script_is_shown_as_it_is(language: Language) -> None:
    for text in (*language.others, language.question, language.reworded, language.same[0]):
        shown = output.printable(text)
        assert shown.replace(FSI, "").replace(PDI, "") == text
        assert shown.startswith(FSI) == shown.endswith(PDI)
        assert (FSI in shown) == (language.name in ("Arabic", "Persian", "Hebrew"))
    assert columns(language.same[0]) == language.width


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
@pytest.mark.parametrize("width", [60, 34, 28, 24])
def test_columns_line_up(language: Language, width: int) -> None:
    table = Table("asked", "answers", "|", box=None, pad_edge=False)
    rows = [(language.question, *language.same[:2]), ("what is this?", "owl", "parrot")]
    for question, before, after in [*rows, (language.reworded * 2, *language.others[:2])]:
        table.add_row(output.cell(question), output.cell(before, after), "|")
    lines = printed(table, width)
    assert len(lines) == 4, "cut, not wrapped"
    places = {columns(line[: line.rindex("|")]) for line in lines[1:]}
    assert len(places) == 1
    for line in lines:
        assert columns(line) <= width
        depth = 0
        for c in line:
            depth += (c == FSI) - (c == PDI)
            assert depth in (0, 1)
            assert not (depth and c in "|→"), "what is beside a text is not of it"
        assert depth == 0


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_a_cut_parts_no_character_from_its_marks(language: Language) -> None:
    text = output.printable(language.reworded)
    bare = text.strip(FSI + PDI)
    for width in range(1, columns(text)):
        shown = output.cut(text, width)
        assert columns(shown) <= width
        kept = shown.strip(FSI + PDI).removesuffix("…")
        assert bare.startswith(kept)
        rest = bare[len(kept) :]
        assert unicodedata.category(rest[0])[0] != "M"
        assert rest[0] not in "\u200c\u200d"
        assert not kept.endswith("\u200d")
    assert output.cut(text, 99) == text


def test_emoji_stay_whole() -> None:
    text = "👩‍💻 👍🏽 ok"
    assert output.printable(text) == text
    assert output.cut(text, 4) == "👩‍💻 …"
    assert output.cut("👍🏽👍🏽👍🏽", 5) == "👍🏽👍🏽…"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\x1b[31mb", f"a{PARTED}[31mb"),
        ("a\u202eb", f"a{PARTED}b"),  # an override turns what follows round
        ("a\u2067b\u2069", f"a{PARTED}b{PARTED}"),
        ("a\u00adb\ufeffc\u200bd", "abcd"),
        ("a\r\n\tb", "a b"),
        ("a\x07\x9b1mb", f"a{PARTED}{PARTED}1mb"),
    ],
)
def test_nothing_steers_the_terminal(said: str, shown: str) -> None:
    assert output.printable(said) == shown


def test_what_runs_from_right_to_left_keeps_its_place() -> None:
    """Each answer is isolated by itself: else the arrow between two of them would turn round."""
    shown = output.cell("قطة", "بومة").text
    assert shown == f"{FSI}قطة{PDI} → {FSI}بومة{PDI}"
    assert output.cell("cat", "בומה").text == f"cat → {FSI}בומה{PDI}"


def test_the_list_of_edits_lines_up_in_all_languages() -> None:
    held = [
        make_edit(i, question=la.question, answer_before=la.same[0], target=la.others[0])
        for i, la in enumerate(LANGUAGES)
    ]
    lines = printed(edit_table(held, set()), 140)
    assert len(lines) == len(LANGUAGES) + 1
    assert {columns(line) for line in lines} == {columns(lines[0])}
