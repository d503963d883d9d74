"""MiniGPT-4's processor: PIL pictures and text to model inputs, without torchvision."""

from __future__ import annotations

from typing import Any

from transformers import ProcessorMixin

IMAGE_TOKEN = "<ImageHere>"  # as in the published prompts


class MiniGPT4Processor(ProcessorMixin):
    """BLIP-2's image processor and the language model's tokenizer in one.

    Each `<ImageHere>` becomes `num_query_tokens` placeholders between `<Img>` and `</Img>`.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_query_tokens: int = 32,
        **kwargs: Any,
    ) -> None:
        self.num_query_tokens = num_query_tokens
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        super().__init__(image_processor, tokenizer)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """What one `<ImageHere>` in the text stands for."""
        return f"<Img>{self.image_token * self.num_query_tokens}</Img>"
