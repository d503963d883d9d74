"""Every relative link of the README, the changelog and the documentation leads somewhere, anchors
included, and every module that is named is there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\))?)(?:\s+\"[^\"]*\")?\)")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:")  # https:, mailto: …


def links(page: str) -> list[str]:
    """The relative targets of a page's links and pictures, those in code left out."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page))
    return [target for target in LINK.findall(prose) if not ELSEWHERE.match(target)]


def anchors(page: str) -> set[str]:
    """What GitHub calls a page's headings: lower case, without punctuation, hyphens for spaces, and
    numbered where two are alike."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCE.sub("", page), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target in links(page.read_text()):
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert dead(page) == []


def test_dead_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# What `it` is: α, two\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](there.md#what-it-is-α-two) [b](#here) [c](there.md#twice-1) [d](https://x.y/z)\n"
        "`[e](none.md)`\n```\n# Not a heading\n[f](none.md)\n```\n"
    )
    assert dead(page) == []
    page.write_text(
        page.read_text() + "[g](none.md) [h](there.md#step-size) ![i](i.png) [j](#not-a-heading)"
    )
    assert dead(page) == ["none.md", "there.md#step-size", "i.png", "#not-a-heading"]


#: Files of other people's repositories that sources are named by.
THEIRS = {"algs/mend.py", "grace/editors/grace.py"}
MODULE = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.(?:py|md))\b")
LIBRARY = [*(ROOT / "src").rglob("*.py"), *(ROOT / "studies").glob("*.py")]
TREE = [
    f"/{path.relative_to(ROOT)}" for path in [*PAGES, *LIBRARY, *(ROOT / "tests").rglob("*.py")]
]


def missing(text: str) -> list[str]:
    """Modules and pages that a text names and that are nowhere in the tree."""
    names = set(MODULE.findall(FENCE.sub("", text))) - THEIRS
    return sorted(name for name in names if not any(t.endswith(f"/{name}") for t in TREE))


def test_named_modules_and_pages_are_there() -> None:
    lost = {path.name: missing(path.read_text()) for path in [*PAGES, *LIBRARY]}
    assert {name: gone for name, gone in lost.items() if gone} == {}


def test_a_module_that_moved_is_seen() -> None:
    assert missing("`layer/router.py`, `router.py`, docs/store.md, http://x.y/z") == []
    assert missing("see `adapter/router.py` and routes.py") == ["adapter/router.py", "routes.py"]
