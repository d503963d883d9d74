"""docs/cli.md shows what the commands print."""

from __future__ import annotations

import documented


def test_the_page_shows_what_the_commands_print(run, shared_pocket, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(documented.WIDTH))

    def command(arguments: list[str]) -> str:
        ran = run(*arguments)
        assert "bug" not in ran.err
        return ran.out + ran.err

    page = documented.PAGE.read_text()
    assert documented.plain(documented.rerun(page, command)) == documented.plain(page)


def test_every_command_and_option_is_documented(run) -> None:
    page = documented.PAGE.read_text()
    for name in (
        "demo",
        "ask",
        "edit",
        "edit-many",
        "preview",
        "explain",
        "list",
        "show",
        "revert",
        "models",
    ):
        assert f"\n## {name}\n" in page
        help_text = run(name, "--help").out
        options = {w for w in help_text.split() if w.startswith("--")} - {"--help"}
        assert all(option in page for option in options), options
