"""The configuration of MiniGPT-4."""

from __future__ import annotations

from typing import Any

from transformers import Blip2QFormerConfig, Blip2VisionConfig, LlamaConfig, PreTrainedConfig


class MiniGPT4Config(PreTrainedConfig):
    """The parts' own configurations, and how they meet.

    num_query_tokens: N, image tokens a picture. image_token_id: placeholder in `input_ids`, outside
    the language model's vocabulary.
    """

    model_type = "balancedit_minigpt4"
    sub_configs = {  # noqa: RUF012 (transformers' own convention)
        "vision_config": Blip2VisionConfig,
        "qformer_config": Blip2QFormerConfig,
        "text_config": LlamaConfig,
    }

    def __init__(
        self,
        vision_config: dict[str, Any] | Blip2VisionConfig | None = None,
        qformer_config: dict[str, Any] | Blip2QFormerConfig | None = None,
        text_config: dict[str, Any] | LlamaConfig | None = None,
        num_query_tokens: int = 32,
        image_token_id: int = 32000,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _made(vision_config, Blip2VisionConfig)
        self.qformer_config = _made(qformer_config, Blip2QFormerConfig)
        self.text_config = _made(text_config, LlamaConfig)
        self.num_query_tokens = num_query_tokens
        self.image_token_id = image_token_id
        kwargs.setdefault("tie_word_embeddings", False)
        super().__init__(**kwargs)

    @property
    def image_tokens(self) -> int:
        """N, image tokens a picture."""
        return self.num_query_tokens


def _made(options: Any, kind: type) -> Any:
    return options if isinstance(options, kind) else kind(**(options or {}))
