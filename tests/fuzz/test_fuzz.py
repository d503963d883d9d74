"""Whatever is read from outside answers with an error of ours, at once, in little memory, and
touches nothing else.

`make test` gives each reader a few inputs, always the same. Marked slow, they get
BALANCEDIT_FUZZ_SECONDS together (60), from the seed BALANCEDIT_FUZZ_SEED (1).
"""

from __future__ import annotations

import os

import pytest

from balancedit.errors import InputError
from fuzz import networks, pictures, stores, texts
from fuzz.running import Findings, Reader, run

READERS = {
    reader.name: reader
    for module in (stores, texts, pictures, networks)
    for reader in module.READERS
}
#: Inputs of each in an ordinary run.
FEW = {"store": 80, "editor": 40, "data": 150, "facts": 300, "results": 120, "pictures": 200}
pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX files and signals")


@pytest.mark.parametrize("name", READERS)
def test_bad_files_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _check(name, run(READERS[name], 0, FEW.get(name, 100)), capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_bad_files_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = float(os.environ.get("BALANCEDIT_FUZZ_SECONDS", "60")) / len(READERS)
    seed = int(os.environ.get("BALANCEDIT_FUZZ_SEED", "1"))
    _check(name, run(READERS[name], seed, None, seconds), capsys)


def _check(name: str, found: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\nfuzz {name}: {found.inputs} inputs, {found.refused} refused, "
            f"{found.grown:.0f} MB more, {len(found.wrong)} wrong"
        )
    assert not found.wrong, "\n".join(found.wrong)
    assert 0 < found.refused < found.inputs  # neither the readers nor the inputs are all bad


def _misbehaving(what: str) -> Reader:
    def feed(random: object, root: object) -> None:
        place = root.parent  # type: ignore[attr-defined]
        if what == "raises":
            raise KeyError("a field")
        if what == "touches":
            (place / "elsewhere" / "precious").write_text("theirs")
        if what == "grows":
            bytearray(os.urandom(1024)) * (200 * 1024)
        raise InputError("no")

    return Reader(what, lambda root: None, feed, memory=100)


@pytest.mark.parametrize(
    ("what", "said"), [("raises", "KeyError"), ("touches", "touched"), ("grows", "100 is right")]
)
def test_what_goes_wrong_is_found(what: str, said: str) -> None:
    found = run(_misbehaving(what), 0, 3)
    assert any(said in wrong for wrong in found.wrong)
    assert not run(_misbehaving("right"), 0, 3).wrong


def test_an_input_follows_from_its_number_and_the_seed() -> None:
    first, second = (run(READERS["facts"], 3, 40) for _ in range(2))
    assert (first.inputs, first.refused) == (second.inputs, second.refused)
