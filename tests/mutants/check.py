"""Try every deliberate fault on a copy of the package, and see that a test turns red.

``make test-mutants`` prints the table; `test_mutants.py` runs the same inside ``make test``. Heavy
libraries are imported once, and every fault gets a fork of that process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mutants.faults import FAULTS, Fault

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = TESTS.parent / "src" / "balancedit"
LIMIT = 240  # seconds a fault may take; a fault that hangs is not caught
LARGE = 100_000  # bytes; larger files are linked, not copied

#: What fails by itself where a change leaves code that cannot run; that shows nothing.
CRASHES = ("SyntaxError", "ImportError", "NameError", "UnboundLocalError", "AttributeError")

#: Imported before the forks; nothing of ours, which is another in each.
HEAVY = {
    "torch": (),
    "torch.utils.checkpoint": (),
    "numpy": (),
    "PIL.Image": (),
    "accelerate": (),
    "filelock": (),
    "safetensors.torch": (),
    "transformers": (
        "AutoModelForImageTextToText",
        "AutoProcessor",
        "AutoTokenizer",
        "Blip2ForConditionalGeneration",
        "Blip2Processor",
        "BlipImageProcessorPil",
        "CLIPImageProcessorPil",
        "CLIPVisionModel",
        "DynamicCache",
        "LlamaForCausalLM",
        "LlavaForConditionalGeneration",
        "LlavaProcessor",
        "OPTForCausalLM",
        "PreTrainedTokenizerFast",
    ),
}


@dataclass(frozen=True)
class Tried:
    """What came of one fault. outcome: "caught", or what happened instead; by: the test that
    failed."""

    name: str
    breaks: str
    outcome: str
    by: str
    seconds: float


def changed_files(fault: Fault, package: Path = PACKAGE) -> dict[Path, str]:
    """New contents of the files that a fault changes, by their path in the package. Raises
    `LookupError` unless every text it changes occurs exactly once in the package."""
    texts = {path.relative_to(package): path.read_text() for path in package.rglob("*.py")}
    made: dict[Path, str] = {}
    for old, new in fault.changes:
        found = [path for path, text in texts.items() for _ in range(text.count(old))]
        if len(found) != 1:
            where = ", ".join(map(str, found)) or "nowhere"
            raise LookupError(
                f"fault '{fault.name}': its text must occur once in the package, and is found "
                f"{where}; write the fault anew in tests/mutants/faults.py: {old!r}"
            )
        made[found[0]] = texts[found[0]] = texts[found[0]].replace(old, new)
    return made


def node_ids(tests: Sequence[str]) -> list[str]:
    """Where tests are that are named by file and function. Raises `LookupError` unless there is one
    such file."""
    made = []
    for test in tests:
        file, _, name = test.partition("::")
        found = list(TESTS.rglob(file))
        if len(found) != 1:
            raise LookupError(f"there are {len(found)} files '{file}' under tests/, not one")
        made.append(f"{found[0]}::{name}")
    return made


def tried(faults: Sequence[Fault] = FAULTS) -> Iterator[Tried]:
    """Run the tests of all faults unchanged, then those of every fault under it, two at a time; in
    the order in which they end."""
    for name, parts in HEAVY.items():
        module = importlib.import_module(name)
        for part in parts:
            getattr(module, part)
    import torch

    torch.set_num_threads(1)  # no thread may run in what is forked
    assert "balancedit" not in sys.modules
    every = tuple(dict.fromkeys(test for fault in faults for test in fault.tests))
    unchanged = Fault("unchanged", "all these tests pass as the code is", (), every)
    waiting = [unchanged, *faults]
    running: dict[int, tuple[Fault, float, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < 2:
                fault, folder = waiting.pop(0), tempfile.TemporaryDirectory()
                running[_forked(fault, Path(folder.name))] = fault, time.perf_counter(), folder
            pid, status = os.wait()
            fault, started, folder = running.pop(pid)
            seconds = time.perf_counter() - started
            outcome, by = _judged(fault, status, Path(folder.name))
            folder.cleanup()
            yield Tried(fault.name, fault.breaks, outcome, by, round(seconds, 1))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _forked(fault: Fault, folder: Path) -> int:
    """Start the tests of a fault in a process of their own, on a copy in `folder`; its id."""
    source = folder / "src"
    shutil.copytree(PACKAGE, source / PACKAGE.name, copy_function=_copied)
    for path, text in changed_files(fault).items():
        (source / PACKAGE.name / path).write_text(text)
    ids = node_ids(fault.tests)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        signal.alarm(LIMIT)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(log, stream)
        code = _run(ids, source, folder)
    finally:
        os._exit(code)


def _copied(source: str, target: str) -> None:
    if os.path.getsize(source) > LARGE and not source.endswith((".py", ".pyc")):
        os.symlink(source, target)
    else:
        shutil.copy2(source, target)


def _run(ids: Sequence[str], source: Path, folder: Path) -> int:
    """In the fork: pytest on the copy; the first failure is written down."""
    import pytest

    class Failures:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
            report = yield
            failure = folder / "failure.json"
            if report.failed and not failure.exists():
                failure.write_text(json.dumps([item.name, call.excinfo.typename]))
            return report

    sys.path.insert(0, str(source))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    os.chdir(TESTS.parent)
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    code = int(pytest.main([*options, *ids], plugins=[Failures()]))
    used = Path(sys.modules["balancedit"].__file__ or "")
    return code if used.is_relative_to(source) else 4


def _judged(fault: Fault, status: int, folder: Path) -> tuple[str, str]:
    """What happened, and the test that failed."""
    failure = folder / "failure.json"
    by, kind = json.loads(failure.read_text()) if failure.exists() else ("", "")
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return ("passed" if not fault.changes else "SURVIVED"), by
    if code == 1 and fault.changes and kind not in CRASHES:
        return "caught", by
    log = (folder / "log").read_text()[-3000:] if (folder / "log").exists() else ""
    return f"NOT JUDGED: exit {code} {kind}\n{log}", by


def good(one: Tried) -> bool:
    """Whether it is as it should be."""
    return one.outcome in ("passed", "caught")


def main() -> int:
    """Print the table; 1 where a fault was not caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    asked = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    started = time.perf_counter()
    print(f"{'fault':34}{'seconds':>8}  {'outcome':10}caught by / what it breaks")
    found = []
    for one in tried():
        found.append(one)
        print(f"{one.name:34}{one.seconds:8.1f}  {one.outcome:10}{one.by}")
        print(f"{'':54}{one.breaks}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in found]))
    caught = sum(one.outcome == "caught" for one in found)
    seconds = time.perf_counter() - started
    print(f"{caught} of {len(FAULTS)} faults caught in {seconds:.0f} s")
    return 0 if all(map(good, found)) else 1


if __name__ == "__main__":
    sys.exit(main())
