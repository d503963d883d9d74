"""The design tokens: every pair of colours that meets on a page can be told apart, light and dark,
and no style sheet has colours or sizes of type of its own."""

from __future__ import annotations

import re
from importlib import resources

import pytest

STYLE = resources.files("balancedit") / "assets" / "style"
PAGE = resources.files("balancedit") / "serving" / "page"
TOKENS = (STYLE / "tokens.css").read_text()
LIGHT, _, DARK = TOKENS.partition("@media (prefers-color-scheme: dark)")

#: Text on what it stands on: 4.5 : 1 (WCAG 2.2, 1.4.3).
TEXT = [
    *((ink, on) for ink in ("ink", "ink-soft", "accent") for on in ("ground", "surface", "sunken")),
    *(("ink", f"{kind}-soft") for kind in ("accent", "good", "bad", "warn")),
    *((kind, f"{kind}-soft") for kind in ("accent", "good", "bad", "warn")),
    *((kind, on) for kind in ("bad", "warn") for on in ("surface", "sunken")),
    *(("accent", f"{kind}-soft") for kind in ("good", "bad", "warn")),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
]
#: Borders of controls, the ring of the focus, marks: 3 : 1 (1.4.11).
PARTS = [
    *(("line-strong", on) for on in ("ground", "surface")),
    *(("focus", on) for on in ("ground", "surface", "sunken")),
    *(("accent", on) for on in ("ground", "surface", "sunken")),
]


def colours(scheme: str) -> dict[str, str]:
    """The tokens that are colours, by name."""
    found = {}
    for text in (LIGHT, DARK)[: 1 + (scheme == "dark")]:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text))
    return found


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG defines it, from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_measured() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    held = colours(scheme)
    low = {
        (one, on): round(contrast(held[one], held[on]), 2)
        for pairs, least in ((TEXT, 4.5), (PARTS, 3.0))
        for one, on in pairs
        if contrast(held[one], held[on]) < least
    }
    assert low == {}


def test_every_colour_has_a_dark_one() -> None:
    assert set(dict(re.findall(r"--([\w-]+): (#\w{6});", LIGHT))) == set(
        dict(re.findall(r"--([\w-]+): (#\w{6});", DARK))
    )


def test_sheets_use_tokens_alone() -> None:
    sheets = {"controls": STYLE / "controls.css"} | {
        name: PAGE / f"{name}.css" for name in ("page", "parts")
    }
    review = (resources.files("balancedit") / "data" / "review.html").read_text()
    texts = {name: path.read_text() for name, path in sheets.items()}
    texts["review"] = review.partition("<style>")[2].partition("</style>")[0]
    tokens = set(re.findall(r"--([\w-]+):", TOKENS)) | {"share"}  # set by the bar of distances
    for name, text in texts.items():
        used = set(re.findall(r"var\(--([\w-]+)\)", text))
        assert used <= tokens, name
        assert re.findall(r"font-size: (?!var|0\.92em)[^;]+", text) == [], name
        assert re.findall(r"#[0-9a-f]{3,8}\b", text) == [], name
