"""Asking a backbone to reword a question in its own words, without a picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from balancedit.errors import InputError
from balancedit.inputs.language import is_english
from balancedit.inputs.text import listed
from balancedit.models.prompting import Prompter
from balancedit.scope.rephrasing import Rephraser

#: The wording the paper's authors gave their data set's language model (paper, Appendix A.1).
PROMPT = "Please rephrase the following question in {n} different ways: {question}"
#: The same for a question that is not in English.
IN_ITS_LANGUAGE = (
    "Please rephrase the following question in {n} different ways, in the language it is written "
    "in: {question}"
)


def backbone_rephraser(model: nn.Module, prompter: Prompter) -> Rephraser:
    """A rephraser that prompts `model` itself, greedily.

    What it returns is raw: candidates to be checked, none where the model cannot answer without a
    picture. Call it while no edit can fire.
    """

    @torch.no_grad()
    def rephraser(question: str, n: int) -> list[str]:
        generator: Any = model
        try:
            prompt = PROMPT if is_english(question) else IN_ITS_LANGUAGE
            inputs = prompter.inputs([None], [prompt.format(n=n, question=question)])
            inputs = {k: v.to(next(model.parameters()).device) for k, v in inputs.items()}
            out = generator.generate(**inputs, do_sample=False, max_new_tokens=40 * n)
        except (InputError, ValueError, RuntimeError, TypeError, KeyError, AttributeError):
            return []  # some models take no prompt without a picture; the rules stand in
        return listed(prompter.answers(out, inputs["input_ids"])[0])

    return rephraser
