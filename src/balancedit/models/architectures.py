"""What is known beforehand about model architectures: where to edit, and how to ask.

This table is the only place that knows one architecture from another; everything else works on
whatever it says. Importing it loads neither torch nor any weights.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """One transformers model type.

    model_type: as in the model's `config.json`. blocks: dotted path of the language model's decoder
    blocks. layer: the linear layer to edit, as a path inside the last of them. prompt: format
    string for a processor without a chat template, with ``{question}`` and, where the picture goes,
    ``{image}``; None where every published checkpoint brings a template. answer_prefix: what stands
    between prompt and answer when the model writes. answer_end: text that it may write behind an
    answer. needs_image: whether it takes no prompt without a picture. most_images: how many it
    takes in a prompt, None: as many as fit. edit_lr: Adam step size of an edit, None where none is
    known. processor: ``module:class`` of a processor of ours, for where torchvision is missing and
    the published one cannot be imported.
    """

    model_type: str
    name: str
    example: str  # a published checkpoint
    blocks: str
    layer: str = "mlp.up_proj"
    prompt: str | None = None
    answer_prefix: str = ""
    answer_end: str | None = None
    needs_image: bool = False
    most_images: int | None = None
    edit_lr: float | None = None
    processor: str | None = None

    @property
    def language_model(self) -> str:
        """Dotted path of the language model that holds the blocks."""
        return self.blocks.rpartition(".")[0]

    @property
    def pattern(self) -> str:
        """The edited layer's dotted path, with ``{last}`` for the number of the last block."""
        return f"{self.blocks}.{{last}}.{self.layer}"

    def layer_path(self, blocks: int) -> str:
        """The edited layer's dotted path in a model with so many blocks."""
        return self.pattern.format(last=blocks - 1)


# Where transformers puts the language model's blocks in most of its image-text-to-text classes.
_BLOCKS = "model.language_model.layers"
_LLAVA_PROMPT = "USER: {image}\n{question} ASSISTANT:"

_ENTRIES = (
    Architecture(
        "blip-2",
        "BLIP-2 (OPT)",
        "Salesforce/blip2-opt-2.7b",
        "language_model.model.decoder.layers",
        layer="fc2",  # paper, Appendix F
        prompt="Question: {question} Answer:",
        answer_prefix=" ",
        needs_image=True,
        most_images=1,
        edit_lr=1e-4,  # authors' code
    ),
    Architecture(
        "balancedit_minigpt4",
        "MiniGPT-4",
        "built from its parts, see docs/models.md",
        "language_model.model.layers",
        prompt="###Human: {image} {question} ###Assistant:",
        answer_end="###",
        most_images=1,
        edit_lr=1e-4,  # authors' code
    ),
    Architecture(
        "instructblip",
        "InstructBLIP (Vicuna)",
        "Salesforce/instructblip-vicuna-7b",
        "language_model.model.layers",
        prompt="Question: {question} Short answer:",
        needs_image=True,
        most_images=1,
    ),
    Architecture("llava", "LLaVA-1.5", "llava-hf/llava-1.5-7b-hf", _BLOCKS, prompt=_LLAVA_PROMPT),
    Architecture(
        "vipllava", "ViP-LLaVA", "llava-hf/vip-llava-7b-hf", _BLOCKS, prompt=_LLAVA_PROMPT
    ),
    Architecture("llava_next", "LLaVA-NeXT", "llava-hf/llava-v1.6-mistral-7b-hf", _BLOCKS),
    Architecture(
        "llava_onevision", "LLaVA-OneVision", "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", _BLOCKS
    ),
    Architecture("qwen2_vl", "Qwen2-VL", "Qwen/Qwen2-VL-2B-Instruct", _BLOCKS),
    Architecture("qwen2_5_vl", "Qwen2.5-VL", "Qwen/Qwen2.5-VL-3B-Instruct", _BLOCKS),
    Architecture("qwen3_vl", "Qwen3-VL", "Qwen/Qwen3-VL-2B-Instruct", _BLOCKS),
    Architecture("qwen3_5", "Qwen3.5", "Qwen/Qwen3.5-4B", _BLOCKS),
    Architecture(
        "smolvlm", "SmolVLM", "HuggingFaceTB/SmolVLM2-2.2B-Instruct", "model.text_model.layers"
    ),
    Architecture(
        "idefics3", "Idefics3", "HuggingFaceM4/Idefics3-8B-Llama3", "model.text_model.layers"
    ),
    Architecture("idefics2", "Idefics2", "HuggingFaceM4/idefics2-8b", "model.text_model.layers"),
    Architecture(
        "paligemma",
        "PaliGemma",
        "google/paligemma-3b-mix-224",
        _BLOCKS,
        prompt="{image}answer en {question}",
        needs_image=True,
    ),
    Architecture("gemma3", "Gemma 3", "google/gemma-3-4b-it", _BLOCKS),
    Architecture("gemma4", "Gemma 4", "google/gemma-4-E2B-it", _BLOCKS),
    Architecture("internvl", "InternVL", "OpenGVLab/InternVL3-1B-hf", _BLOCKS),
    Architecture(
        "mistral3",
        "Mistral 3",
        "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
        _BLOCKS,
        processor="balancedit.models.pixtral:PixtralProcessor",
    ),
    Architecture(
        "glm4v", "GLM-4.1V", "zai-org/GLM-4.1V-9B-Thinking", _BLOCKS, layer="mlp.down_proj"
    ),
    Architecture("mllama", "Llama 3.2 Vision", "meta-llama/Llama-3.2-11B-Vision-Instruct", _BLOCKS),
    Architecture("aya_vision", "Aya Vision", "CohereLabs/aya-vision-8b", _BLOCKS),
)

ARCHITECTURES: dict[str, Architecture] = {a.model_type: a for a in _ENTRIES}
