"""docs/models.md's table is the code's."""

from __future__ import annotations

from pathlib import Path

from balancedit.models.architectures import ARCHITECTURES

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def test_the_table_is_the_codes() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("|") and ".{last}." in line
    ]
    shown = {name: (layer, pictures) for name, _, layer, _, pictures in rows}
    assert shown == {
        a.name: (f"`{a.pattern}`", "several" if a.most_images is None else "one")
        for a in ARCHITECTURES.values()
    }
    for known in ARCHITECTURES.values():
        assert known.example in PAGE or known.example.startswith("built from its parts")


def test_what_it_says_of_the_numbers() -> None:
    several = sum(a.most_images is None for a in ARCHITECTURES.values())
    assert f"| all {len(ARCHITECTURES)} |" in PAGE
    assert f"the {several} marked *several*" in PAGE
