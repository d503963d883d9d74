"""MiniGPT-4 as a transformers model (Zhu et al., arXiv 2304.10592): BLIP-2's vision tower and
Q-Former, one linear projection, a Llama-type language model (Vicuna).

It is built from its published parts by `build`, once, and then loaded like any other model. Source
of the architecture and the prompt: the repository Vision-CAIR/MiniGPT-4. Importing this package is
cheap; torch and transformers are imported by the calls that need them.
"""

from __future__ import annotations


def register() -> None:
    """Make transformers' Auto classes know the model, so that `from_pretrained` reads its
    folder."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    from balancedit.models.minigpt4.configuration import MiniGPT4Config
    from balancedit.models.minigpt4.modeling import MiniGPT4ForConditionalGeneration
    from balancedit.models.minigpt4.processing import MiniGPT4Processor

    AutoConfig.register(MiniGPT4Config.model_type, MiniGPT4Config, exist_ok=True)
    AutoModelForImageTextToText.register(
        MiniGPT4Config, MiniGPT4ForConditionalGeneration, exist_ok=True
    )
    AutoProcessor.register(MiniGPT4Config, MiniGPT4Processor, exist_ok=True)
