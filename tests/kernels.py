"""The numerical tests under other kernels: ``make test-kernels``.

    python tests/kernels.py [--slice]

PyTorch, MKL and oneDNN choose their kernels by the processor and the number of threads, and each
choice rounds otherwise. Environment variables choose for them, so that one machine meets much of
what others do. Each choice runs the tests marked ``kernels`` in a process of its own; one that the
processor does not have is said and left out. ``--slice`` runs a few of the tests under the choices
that differ most.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CHOSEN_BY = (
    "ATEN_CPU_CAPABILITY",
    "BALANCEDIT_ROUNDING",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
)


@dataclass(frozen=True)
class Choice:
    """Kernels and threads. needs: what the processor must have, see `has`."""

    name: str
    set: dict[str, str]
    needs: str = ""


ONE, TWO = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}
OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
BY_ROWS = Choice(
    "sums in another order for every number of rows", {"BALANCEDIT_ROUNDING": "by-rows"} | ONE
)

#: What is left unset, each library chooses for itself. More threads than cores that are idle wait
#: for one another at every product, so only one choice has two.
CHOICES = (
    Choice("the processor's own, one thread", ONE),
    Choice("the processor's own, two threads", TWO),
    Choice("SSE4", OLD | ONE, "x86"),
    Choice("MKL alike on all processors", {"MKL_CBWR": "COMPATIBLE"} | ONE, "x86"),
    Choice("AVX2", AVX2 | ONE, "avx512"),
    Choice(
        "AVX-512, but oneDNN with AVX2",
        {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX2"} | ONE,
        "avx512",
    ),
    BY_ROWS,
)
SLICE = (CHOICES[2], BY_ROWS)
#: The kinds of test that failed on one machine and not on another, and the contract of one model.
FEW = (
    "tests/bench/test_runner.py",
    "tests/methods/test_ike.py",
    "tests/models/test_user_models.py",
    "tests/test_contract.py",
)
FEW_NAMED = (
    "killed and 3 or several_pictures or quantised or packed or test_contract and llava and mean"
)


class Outcome(NamedTuple):
    """What came of one choice."""

    passed: int
    failed: int
    seconds: float
    said: str


NEEDED = {"x86": "x86 instructions", "avx512": "AVX-512"}


def has(needs: str) -> bool:
    """Whether this processor has it: one of `NEEDED`, or "" for what every processor has."""
    if needs == "avx512":
        import torch

        return torch.backends.cpu.get_cpu_capability() == "AVX512"
    return not needs or platform.machine().lower() in ("x86_64", "amd64")


def run(choice: Choice, arguments: list[str]) -> Outcome:
    """The tests under one choice, in a process of its own."""
    plain = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "kernels and not slow", *arguments],
        cwd=ROOT,
        env=plain | choice.set,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    counted = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    failed = counted.get("failed", 0) + counted.get("error", 0)
    if done.returncode and not failed:
        failed = 1  # it broke before it could count
    passed = counted.get("passed", 0)
    return Outcome(passed, failed, time.perf_counter() - started, done.stdout)


def main() -> int:
    """Run every choice and print the table. The exit code: 1 where a test failed or none ran."""
    parser = argparse.ArgumentParser(description="Run the numerical tests under other kernels.")
    parser.add_argument("--slice", action="store_true", help="few choices and few tests")
    sliced = parser.parse_args().slice
    for name in CHOSEN_BY:
        os.environ.pop(name, None)  # before torch looks at them
    arguments = [*FEW, "-k", FEW_NAMED] if sliced else []
    failed = ran = 0
    print(f"{'kernels and threads':<52}{'passed':>7}{'failed':>7}{'seconds':>8}", flush=True)
    for choice in SLICE if sliced else CHOICES:
        if not has(choice.needs):
            print(
                f"{choice.name:<52}  left out: this processor has no {NEEDED[choice.needs]}",
                flush=True,
            )
            continue
        made = run(choice, arguments)
        ran, failed = ran + (made.passed), failed + made.failed
        print(f"{choice.name:<52}{made.passed:>7}{made.failed:>7}{made.seconds:>8.0f}", flush=True)
        if made.failed:
            print(" ".join(f"{name}={value}" for name, value in choice.set.items()))
            print(made.said)
    return int(failed > 0 or ran == 0)


if __name__ == "__main__":
    sys.exit(main())
