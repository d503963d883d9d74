"""How a new fact is put into a prompt. Source: Zheng et al., *Can We Edit Factual Knowledge by
In-Context Learning?* (2023), Section 3."""

from __future__ import annotations


def fact(question: str, answer: str) -> str:
    """A new fact and the beginning of the prompt it is for (source: the same words)."""
    return f"New Fact: {question} {answer}\nPrompt: "
