"""What the commands of docs/paper.md should take, worked out and not measured.

    python studies/paper_cost.py

Weights and sizes are the published models', the accelerator's rates its data sheet's; what share of
them is reached, and what launching a kernel costs, are assumptions, named below. A pass over the
model takes the longer of its arithmetic and of reading the weights, and its launches:

    pass = max(2 · parameters · tokens / (rate · share), weights / (bandwidth · share)) + launches

A training step of an edit runs the last block's MLP and the output head alone, since what comes
before is held: it reads and writes the float32 weight as often as forward, backward and Adam do.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from balancedit.types import BATCH_SIZE

GB, TERA = 1e9, 1e12

# -- assumptions ---------------------------------------------------------------------------------

RATE, BANDWIDTH = 312 * TERA, 2.0 * TERA  # A100 80 GB: bf16 flop/s, bytes/s (data sheet)
RATE_SHARE, BANDWIDTH_SHARE = 0.3, 0.6  # reached
LAUNCH, KERNELS = 10e-6, 15  # seconds a kernel, kernels a block
ANSWER, WORDED = 5, 32  # tokens of an answer with its end; tokens generated for a rephrasing
QUESTION = 24  # tokens of a question with its template
DEMONSTRATION = 35  # tokens of one of IKE's
PICTURE = 0.02  # seconds of the processor to open and resize one
LANGUAGE_BLOCKS = 32  # of both language models
TOUCHES = 10  # times a step reads or writes the float32 weight: 1 forward, 2 backward, 7 Adam


@dataclass(frozen=True)
class Backbone:
    """A model in half precision. Parameters are counts; d_in, d_out: the edited layer's widths."""

    name: str
    vision: float
    bridge: float  # Q-Former and projection
    language: float
    blocks: int  # of all three together
    d_in: int
    d_out: int
    hidden: int
    vocabulary: int
    image_tokens: int = 32
    patches: int = 257  # the vision tower's tokens

    @property
    def weights(self) -> float:
        """Bytes."""
        return 2 * (self.vision + self.bridge + self.language)

    @property
    def edit(self) -> float:
        """Bytes of an edit's float32 weight."""
        return 4 * self.d_in * self.d_out

    def read(self, rows: float, pictures: float, extra: float = 0) -> float:
        """Seconds to read so many prompts, so many of their pictures new; extra: tokens more in
        each prompt."""
        tokens = rows * (self.image_tokens + QUESTION + extra)
        work = 2 * (self.language * tokens + self.vision * self.patches * pictures)
        return self._longer(work, self.weights) + pictures * PICTURE

    def write(self, tokens: int) -> float:
        """Seconds to generate so many tokens behind a prompt."""
        return tokens * self._longer(0, 2 * self.language)

    def step(self) -> float:
        """Seconds of one training step of the edited layer's weight."""
        head = 2 * 2 * self.hidden * self.vocabulary
        moved = TOUCHES * self.edit + head
        return moved / (BANDWIDTH * BANDWIDTH_SHARE) + 4 * KERNELS * LAUNCH

    def beside(self, extra: float = 0) -> float:
        """Bytes of a batch's cache and logits, the logits of every position."""
        tokens = BATCH_SIZE * (self.image_tokens + QUESTION + extra)
        return tokens * 2 * (2 * LANGUAGE_BLOCKS * self.hidden + self.vocabulary)

    def _longer(self, work: float, moved: float) -> float:
        launches = self.blocks * KERNELS * LAUNCH
        return max(work / (RATE * RATE_SHARE), moved / (BANDWIDTH * BANDWIDTH_SHARE)) + launches


BACKBONES = (
    Backbone("BLIP-2 OPT-2.7B", 0.99e9, 0.11e9, 2.65e9, 83, 10240, 2560, 2560, 50304),
    Backbone("MiniGPT-4 7B", 0.99e9, 0.11e9, 6.74e9, 83, 4096, 11008, 4096, 32000),
)

#: name -> edits, prompts asked about each, pictures among them.
DATA = {"OKEDIT eval": (5046, 22, 12), "MMEDIT vqa-eval": (2093, 4, 3)}
STEPS = {"ft": 25, "grace": 100, "balancedit": 50}
MEND_EDITS, MEND_STEPS, MEND_BATCH = 6345, 10_000, 10


def learning(backbone: Backbone, method: str) -> float:
    """Seconds of one edit, the answers before and after it included."""
    asked = 2 * backbone.write(ANSWER) + 2 * backbone.read(1, 1)
    if method == "ike":
        return asked + backbone.read(1, 0)
    if method == "mend":
        return asked + 4 * backbone.read(1, 0, ANSWER)  # forward, backward, forward
    own = STEPS[method] * backbone.step() + backbone.read(1, 0, ANSWER)
    if method == "balancedit":
        own += backbone.write(WORDED) + backbone.read(3, 1)
    return asked + own


def probing(backbone: Backbone, method: str, rows: int, pictures: int) -> float:
    """Seconds to ask all about one edit. Prompts are read once for all methods but IKE, whose are
    its own; the share of that reading is put on every method alike."""
    if method == "ike":
        reading = backbone.read(rows, 0, 32 * DEMONSTRATION) + backbone.read(rows, 0)
    else:
        reading = backbone.read(rows, pictures) / 4
    return reading + backbone.write(ANSWER)


def training(backbone: Backbone, rows: int) -> tuple[float, float]:
    """Seconds and bytes of training MEND's network: reading every edit's gradients and probes, then
    all steps, each of ten edits with four probes; kept of an edit are the layer's input and the
    gradient at its output for every token, and of a probe the block's input and output."""
    reading = MEND_EDITS * (4 * backbone.read(1, 1, ANSWER) + backbone.read(rows, rows / 2))
    head = 3 * 4 * ANSWER * 2 * backbone.hidden * backbone.vocabulary
    update = 3 * 2 * backbone.d_in * backbone.d_out * (QUESTION + backbone.image_tokens)
    a_step = MEND_BATCH * (
        (head + update) / (RATE * RATE_SHARE)
        + TOUCHES * backbone.edit / (BANDWIDTH * BANDWIDTH_SHARE)
        + 4 * KERNELS * LAUNCH
    )
    tokens = QUESTION + backbone.image_tokens + ANSWER
    an_edit = 4 * (tokens * (backbone.d_in + backbone.d_out) + rows * ANSWER * 2 * backbone.hidden)
    return reading + MEND_STEPS * a_step, backbone.weights + MEND_EDITS * an_edit


METHODS = ("ft", "ike", "mend", "grace", "balancedit")


def hours(backbone: Backbone) -> Table:
    """Seconds an edit, and hours of a whole data set, by method."""
    table = Table("seconds an edit; hours", *METHODS, "together", title=backbone.name)
    made = [learning(backbone, method) for method in METHODS]
    table.add_row("making it", *(f"{t:.2f}" for t in made), "")
    for name, (edits, rows, pictures) in DATA.items():
        asked = [probing(backbone, method, rows, pictures) for method in METHODS]
        table.add_row(f"asking, {name}", *(f"{t:.2f}" for t in asked), "")
        each = [(a + b) * edits / 3600 for a, b in zip(made, asked, strict=True)]
        table.add_row(f"{edits} edits, h", *(f"{h:.1f}" for h in each), f"{sum(each):.1f}")
    return table


def memory(backbone: Backbone) -> list[str]:
    """What a GPU must hold, and training MEND's network."""
    seconds, network = training(backbone, DATA["OKEDIT eval"][1])
    parts = {
        "weights": backbone.weights,
        "an edit being learned": 4 * backbone.edit,
        "50 edits held": 50 * backbone.edit,
        "a batch of prompts": backbone.beside(),
        "a batch of IKE's": backbone.beside(32 * DEMONSTRATION),
    }
    return [
        "GB: " + ", ".join(f"{name} {size / GB:.1f}" for name, size in parts.items()),
        f"MEND's network on {MEND_EDITS} edits, {MEND_STEPS} steps at most: {seconds / 3600:.1f} h,"
        f" {network / GB:.0f} GB",
    ]


def main() -> None:
    """Print the estimates."""
    console = Console(width=100, soft_wrap=True)
    for backbone in BACKBONES:
        console.print(hours(backbone))
        console.print("\n".join(memory(backbone)) + "\n")


if __name__ == "__main__":
    main()
