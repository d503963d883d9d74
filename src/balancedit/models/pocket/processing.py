"""The pocket model's processor: PIL pictures and text to model inputs, without torchvision."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import ProcessorMixin
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling

IMAGE_TOKEN = "<image>"

#: Short on purpose: every token of it is paid for at every prompt.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class PocketImageProcessor(PilBackend):
    """Pictures to (P, 3, 224, 224) pixel values, resized whole (not cropped) and normalised as
    ImageNet."""

    resample = PILImageResampling.BICUBIC
    image_mean: ClassVar = [0.485, 0.456, 0.406]
    image_std: ClassVar = [0.229, 0.224, 0.225]
    size: ClassVar = {"height": 224, "width": 224}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True


class PocketProcessor(ProcessorMixin):
    """Image processor and tokenizer in one; each `<image>` becomes `image_tokens` placeholders."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        image_tokens: int = 15,
        **kwargs: Any,
    ) -> None:
        self.image_tokens = image_tokens
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """What one `<image>` in the text stands for."""
        return self.image_token * self.image_tokens
