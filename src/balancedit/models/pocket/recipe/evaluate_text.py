"""What training cost and gained in text:
``python -m balancedit.models.pocket.recipe.evaluate_text``.

Two side abilities of the pocket model: plain text, compared with SmolLM2 as it was (perplexity of
fixed passages; how long greedy answers agree), and following a fact that the prompt carries, which
in-context editing needs. Needs the extra ``artwork``.
"""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from balancedit.files.compact import as_lines
from balancedit.inputs.wording import fact
from balancedit.models.pocket import artwork, convert, scenes
from balancedit.models.pocket.questions import HELD_OUT, TRAINED, any_answer, siblings
from balancedit.models.pocket.recipe.evaluate import SEED, Asker
from balancedit.models.pocket.recipe.plain_texts import REPLY, USER
from balancedit.models.quiet import quiet

#: Our own passages and prompts; none is in the training texts.
PASSAGES = (
    "The harbour was quiet in the morning. A few boats rocked beside the pier while gulls "
    "circled above the market, waiting for the first crates of fish to be opened.",
    "To make tea, boil fresh water, pour it over the leaves, and wait for three to five minutes. "
    "Longer brewing makes the taste stronger and more bitter.",
    "A triangle has three sides, and the sum of its angles is one hundred and eighty degrees. If "
    "two of its sides are equal, the angles opposite to them are equal as well.",
    "The library opens at nine and closes at six. Visitors may borrow up to ten books for four "
    "weeks, and can extend the loan once if nobody else has asked for the book.",
)
PROMPTS = (
    "What is the capital of Italy?",
    "Explain in one sentence why leaves are green.",
    "Give me three tips for learning a language.",
    "What is the past tense of the verb go?",
    "Write a short poem about the moon.",
    "How does a refrigerator keep food cold?",
    "What is the difference between a lake and a river?",
    "Name two countries in South America.",
)
NEW_TOKENS = 24
DEMONSTRATIONS = (0, 8)


@torch.no_grad()
def perplexity(model: Any, tokenizer: Any) -> float:
    """Of all passages together, a token."""
    nats, count = 0.0, 0
    for passage in PASSAGES:
        ids = tokenizer(passage, return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids).logits[0, :-1]
        nats += F.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return math.exp(nats / count)


@torch.no_grad()
def replies(model: Any, tokenizer: Any) -> list[list[int]]:
    """Greedy replies to the prompts, as token ids."""
    texts = []
    for prompt in PROMPTS:
        text = f"{USER}{prompt}{REPLY}"
        inputs = tokenizer(text, return_tensors="pt")
        out = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        texts.append(out[0, inputs["input_ids"].shape[1] :].tolist())
    return texts


def agreement(before: list[list[int]], after: list[list[int]]) -> float:
    """Share of the old replies' tokens that come before the first difference, in percent."""
    kept = 0
    for old, new in zip(before, after, strict=True):
        same = [a == b for a, b in zip(old, new, strict=False)]
        kept += same.index(False) if False in same else len(same)
    return 100 * kept / sum(map(len, before))


def facts_followed(asker: Asker, demonstrations: int, count: int) -> float:
    """Percent of pictures that are given the name which a fact in the prompt says.

    Facts and demonstrations use trained wordings, questions use held-out ones.
    """
    chance = Random(f"{SEED}-{demonstrations}")
    pictures, prompts, wanted = [], [], []
    for thing in chance.sample(artwork.split("edit-eval"), count):
        scene = scenes.sample(thing.name, chance.choice(artwork.STYLES), SEED)
        new = any_answer("name", scene, chance)
        while new == thing.name:
            new = any_answer("name", scene, chance)
        lines = []
        for shown in chance.sample(artwork.split("edit-train"), demonstrations):
            other = chance.choice(siblings(shown.name))
            lines.append(_fact(chance, other, f"{chance.choice(HELD_OUT['name'])} {other}\n\n"))
        prompts.append("".join(lines) + _fact(chance, new, chance.choice(HELD_OUT["name"])))
        pictures.append(scene.render())
        wanted.append(new)
    answers: list[str] = []
    for start in range(0, count, 16):
        answers += asker(pictures[start : start + 16], prompts[start : start + 16])
    return 100 * sum(a == b for a, b in zip(answers, wanted, strict=True)) / count


def _fact(chance: Random, answer: str, then: str) -> str:
    return fact(chance.choice(TRAINED["name"]), answer) + then


def evaluate_text(
    adapter: Annotated[Path | None, typer.Option(help="Another adapter than the shipped.")] = None,
    count: Annotated[int, typer.Option(help="Pictures for the facts.")] = 96,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Print plain-text ability before and after training, and how often facts are followed."""
    asker = Asker(adapter)
    folder = convert.ensure(adapter)
    with quiet():
        plain = LlamaForCausalLM.from_pretrained(folder / convert.PLAIN, dtype=torch.float32).eval()
    tokenizer = asker.tokenizer
    record = {
        "revision": convert.revision(adapter),
        "perplexity_before": round(perplexity(plain, tokenizer), 2),
        "perplexity_after": round(perplexity(asker.model, tokenizer), 2),
        "greedy_agreement_percent": round(
            agreement(replies(plain, tokenizer), replies(asker.model, tokenizer)), 1
        ),
        "facts_followed_percent": {
            str(n): round(facts_followed(asker, n, count), 1) for n in DEMONSTRATIONS
        },
        "fact_pictures": count,
    }
    if as_json:
        print(as_lines(record), end="")
        return
    table = Table("text ability", "figure")
    table.add_row("perplexity before", str(record["perplexity_before"]))
    table.add_row("perplexity after", str(record["perplexity_after"]))
    table.add_row("greedy agreement", f"{record['greedy_agreement_percent']} %")
    for n in DEMONSTRATIONS:
        share = record["facts_followed_percent"][str(n)]  # type: ignore[index]
        table.add_row(f"fact followed, {n} demonstrations", f"{share} %")
    Console().print(table)


if __name__ == "__main__":
    typer.run(evaluate_text)
