"""Tiny models that are sure of their answers: random weights, trained for a moment on what a few
pictures are.

Untrained, a tiny model babbles bytes that are nearly tied; what depends on what the untouched model
says needs a model that says something, with a margin that no other kernel turns over.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F

import tiny
from balancedit.layer.prompts import with_answers
from balancedit.learning.loop import answer_logits

QUESTION, REWORDED = "what is this?", "what's it?"
WHO, OTHER = "who?", "who painted the long wall over there, and when was that?"
#: What a taught model says to each question, whatever the picture: a thing's name is "no" or "so".
SAYS = {QUESTION: "no", REWORDED: "no", WHO: "me", OTHER: "not i"}
#: Words that it can say, so that an edit can teach them.
SPOKEN = ("ab", "xyz")
#: The picture of another thing.
STRANGE, ITS_NAME = 9, "so"


def model(family: str) -> tuple[Any, Any]:
    """A fresh copy of a family's taught model, and its processor."""
    made, processor = tiny.llava() if family == "llava" else tiny.blip2()
    made.load_state_dict(_taught(family))
    return made, processor


@functools.cache
def _taught(family: str) -> dict[str, torch.Tensor]:
    loaded = tiny.load(family)
    net, prompter = loaded.model, loaded.prompter
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "projector" in name and p.dim() > 1:  # pictures count in a key as much as words
                p.mul_(16)
    asked = [
        (tiny.picture(seed), question, ITS_NAME if named and seed == STRANGE else answer)
        for seed in (1, 2, STRANGE)
        for question, answer in SAYS.items()
        for named in [answer == SAYS[QUESTION]]
    ]
    asked += [(tiny.picture(1), f"say {word}", word) for word in SPOKEN]
    inputs = prompter.inputs([i for i, _, _ in asked], [q for _, q, _ in asked])
    answers = [prompter.answer_ids(a, loaded.eos) for _, _, a in asked]
    full = with_answers(net, inputs, answers)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(400):
        rows = answer_logits(net, full, answers)
        logits, wanted = torch.cat(rows), torch.tensor([t for a in answers for t in a])
        loss = F.cross_entropy(logits, wanted)
        if loss < 0.02:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05, f"the tiny {family} did not learn what it is taught: {loss:.3f}"
    return {name: value.detach().clone() for name, value in net.state_dict().items()}
