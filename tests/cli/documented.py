"""The examples of docs/cli.md. ``python tests/cli/documented.py`` runs them all again and writes
their output into the page; a test compares what they print with what the page says.

An example is a line ``$ balancedit …`` in a ``console`` block, followed by its output. Edit ids
differ from run to run: an id on the page stands for the edit that the same example made now.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
WIDTH = 90  # columns of the page's terminal
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
ID = re.compile(r"\b[0-9a-f]{8}\b")

Command = Callable[[list[str]], str]  # arguments -> standard output, then standard error


def rerun(page: str, command: Command) -> str:
    """The page with every example's output as it is now."""
    now: dict[str, str] = {}  # id on the page -> id of the edit made now
    latest = ""

    def block(match: re.Match[str]) -> str:
        return "".join(example(e) for e in re.split(r"^(?=\$ )", match[0], flags=re.M) if e)

    def example(text: str) -> str:
        nonlocal latest
        line, _, written = text.partition("\n")
        line = ID.sub(lambda m: now.get(m[0], latest), line)  # the latest: the page is new
        printed = command(shlex.split(line)[2:])
        printed = "\n".join(x.rstrip() for x in printed.strip("\n").splitlines())
        made = ID.findall(printed)
        now.update(zip(ID.findall(written), made, strict=False))
        latest = made[-1] if made else latest
        return f"{line}\n{printed}\n"

    return BLOCK.sub(block, page)


def plain(page: str) -> list[str]:
    """The page's lines without what differs from run to run and machine to machine."""
    page = re.sub(r"just now|\d+ min", "AGE", page)
    page = re.sub(r"\d{4}-\d\d-\d\dT\S+", "TIME", page)
    page = ID.sub("ID", page)
    page = re.sub(r"\b[0-9a-f]{64}\b", "HASH", page)
    page = re.sub(r"[━─●│]{4,}", "BAR", page)
    page = re.sub(r"\b\d+(\.\d+)?(e-?\d+)?\b", "0", page)
    return page.split()


def _in_a_process(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "balancedit", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": str(WIDTH)},
    )
    return done.stdout + done.stderr


if __name__ == "__main__":
    text = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        PAGE.write_text(rerun(text, _in_a_process))
