"""One tiny random model, with its own processor, of every architecture the table knows.

Each builder makes about 100,000 parameters from the architecture's configuration, with a byte-level
tokenizer that has the architecture's special tokens and the image processor of its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as tf

import tiny
from balancedit.models.minigpt4.configuration import MiniGPT4Config
from balancedit.models.minigpt4.modeling import MiniGPT4ForConditionalGeneration
from balancedit.models.minigpt4.processing import IMAGE_TOKEN, MiniGPT4Processor
from balancedit.models.pixtral import PixtralProcessor
from balancedit.models.processors import without_video

Family = tuple[Any, Any]  # (model, processor)

WIDTH, BLOCKS = 32, 2
SIDE, PATCH = 16, 8


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Settings that Llama-like language models share."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    } | more


def _vision(**more: Any) -> dict[str, Any]:
    """Settings that most vision towers share."""
    return {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
    } | more


def _qformer(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "encoder_hidden_size": 24,
        "cross_attention_frequency": 1,
    } | more


def _made(kind: Any, config: Any, seed: int = 0) -> Any:
    """A model whose answers depend on its input: wide weights, and none left at zero. seed: one
    with which it tells the test pictures and questions apart."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    for name, p in model.named_parameters():
        if (p.dim() > 1 and not p.any()) or name.endswith(".latents"):
            torch.nn.init.normal_(p, std=0.05)
        elif name.endswith("_gate"):  # Llama 3.2 Vision's, closed at the start
            torch.nn.init.constant_(p, 1.0)
        elif (
            "post_feedforward" in name or "post_mlp" in name
        ):  # Gemma and GLM bound what a block adds
            torch.nn.init.constant_(p, 4.0)
    return tiny.livelier(model)


def _id(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def _clip() -> Any:
    return tf.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )


def vipllava() -> Family:
    tokenizer = tiny.tokenizer()
    config = tf.VipLlavaConfig(
        text_config=_text(tokenizer, model_type="llama"),
        vision_config=_vision(model_type="clip_vision_model", num_hidden_layers=3),
        vision_feature_layers=[-2, -1],
        image_token_index=_id(tokenizer, "<image>"),
        image_seq_length=4,
    )
    processor = tf.LlavaProcessor(
        image_processor=_clip(),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tiny.CHAT,
    )
    return _made(tf.VipLlavaForConditionalGeneration, config), processor


def instructblip() -> Family:
    tokenizer = tiny.tokenizer()
    config = tf.InstructBlipConfig(
        text_config=_text(tokenizer, model_type="llama"),
        vision_config=_vision(initializer_range=0.02),
        qformer_config=_qformer(vocab_size=len(tokenizer)),
        num_query_tokens=4,
        image_token_index=_id(tokenizer, "<image>"),
    )
    processor = tf.InstructBlipProcessor(
        image_processor=tf.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        qformer_tokenizer=tiny.tokenizer(),
        num_query_tokens=4,
    )
    return _made(tf.InstructBlipForConditionalGeneration, config), processor


_PINPOINTS = [[16, 16], [16, 32], [32, 16], [32, 32]]


def llava_next() -> Family:
    tokenizer = tiny.tokenizer()
    config = tf.LlavaNextConfig(
        text_config=_text(tokenizer, model_type="mistral"),
        vision_config=_vision(model_type="clip_vision_model"),
        image_token_index=_id(tokenizer, "<image>"),
        image_grid_pinpoints=_PINPOINTS,
    )
    processor = tf.LlavaNextProcessor(
        image_processor=tf.LlavaNextImageProcessorPil(
            size={"shortest_edge": SIDE},
            crop_size={"height": SIDE, "width": SIDE},
            image_grid_pinpoints=_PINPOINTS,
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tiny.CHAT,
    )
    return _made(tf.LlavaNextForConditionalGeneration, config), processor


def llava_onevision() -> Family:
    tokenizer = tiny.tokenizer("<video>")
    config = tf.LlavaOnevisionConfig(
        text_config=_text(tokenizer, model_type="qwen2"),
        vision_config=_vision(model_type="siglip_vision_model", vision_use_head=False),
        image_token_index=_id(tokenizer, "<image>"),
        video_token_index=_id(tokenizer, "<video>"),
        image_grid_pinpoints=_PINPOINTS,
    )
    processor = without_video(tf.LlavaOnevisionProcessor)(
        tf.LlavaOnevisionImageProcessorPil(
            size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=_PINPOINTS
        ),
        tokenizer,
        None,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=tiny.CHAT,
    )
    return _made(tf.LlavaOnevisionForConditionalGeneration, config, seed=1), processor


_QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_CHAT = tiny.CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")


def _qwen(
    kind: Any, config: Any, processor: Any, text: dict[str, Any], vision: dict[str, Any]
) -> Family:
    tokenizer = tiny.tokenizer(*_QWEN)
    made = config(
        text_config=_text(tokenizer, **text),
        vision_config={"depth": 2, "num_heads": 2, "patch_size": 4} | vision,
        image_token_id=_id(tokenizer, "<|image_pad|>"),
        video_token_id=_id(tokenizer, "<|video_pad|>"),
        vision_start_token_id=_id(tokenizer, "<|vision_start|>"),
        vision_end_token_id=_id(tokenizer, "<|vision_end|>"),
    )
    pictures = tf.Qwen2VLImageProcessorPil(
        patch_size=4, size={"shortest_edge": 16 * 16, "longest_edge": 32 * 32}
    )
    composed = without_video(processor)(pictures, tokenizer, None, chat_template=_QWEN_CHAT)
    return _made(kind, made, seed=1), composed


def _mrope(*sections: int, **more: Any) -> dict[str, Any]:
    return {
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": list(sections),
            "rope_theta": 10000.0,
        }
        | more
    }


def qwen2_vl() -> Family:
    return _qwen(
        tf.Qwen2VLForConditionalGeneration,
        tf.Qwen2VLConfig,
        tf.Qwen2VLProcessor,
        _mrope(2, 1, 1),
        {"embed_dim": 24, "hidden_size": WIDTH},
    )


def qwen2_5_vl() -> Family:
    return _qwen(
        tf.Qwen2_5_VLForConditionalGeneration,
        tf.Qwen2_5_VLConfig,
        tf.Qwen2_5_VLProcessor,
        _mrope(2, 1, 1),
        {
            "hidden_size": 24,
            "intermediate_size": 32,
            "out_hidden_size": WIDTH,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
    )


_QWEN3_VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "out_hidden_size": WIDTH,
    "num_position_embeddings": 16,
}


def qwen3_vl() -> Family:
    return _qwen(
        tf.Qwen3VLForConditionalGeneration,
        tf.Qwen3VLConfig,
        tf.Qwen3VLProcessor,
        _mrope(2, 1, 1, mrope_interleaved=True) | {"head_dim": 8},
        _QWEN3_VISION | {"deepstack_visual_indexes": [0]},
    )


def qwen3_5() -> Family:
    text = _mrope(2, 1, 1, mrope_interleaved=True, partial_rotary_factor=1.0) | {
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
    }
    return _qwen(
        tf.Qwen3_5ForConditionalGeneration,
        tf.Qwen3_5Config,
        tf.Qwen3VLProcessor,
        text,
        _QWEN3_VISION,
    )


_IDEFICS = (
    "<fake_token_around_image>",
    "<end_of_utterance>",
    "<global-img>",
    "<video>",
    *(f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)),
)


def _idefics_vision() -> dict[str, Any]:
    return _vision(patch_size=4)


def smolvlm() -> Family:
    tokenizer = tiny.tokenizer(*_IDEFICS)
    config = tf.SmolVLMConfig(
        text_config=_text(tokenizer, model_type="llama"),
        vision_config=_idefics_vision(),
        image_token_id=_id(tokenizer, "<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    pictures = tf.SmolVLMImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": SIDE}
    )
    processor = without_video(tf.SmolVLMProcessor)(
        pictures, tokenizer, None, image_seq_len=4, chat_template=tiny.CHAT
    )
    return _made(tf.SmolVLMForConditionalGeneration, config), processor


def idefics3() -> Family:
    tokenizer = tiny.tokenizer(*_IDEFICS)
    config = tf.Idefics3Config(
        text_config=_text(tokenizer, model_type="llama"),
        vision_config=_idefics_vision(),
        image_token_id=_id(tokenizer, "<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    processor = tf.Idefics3Processor(
        tf.Idefics3ImageProcessorPil(
            size={"longest_edge": 32}, max_image_size={"longest_edge": SIDE}
        ),
        tokenizer,
        image_seq_len=4,
        chat_template=tiny.CHAT,
    )
    return _made(tf.Idefics3ForConditionalGeneration, config), processor


def idefics2() -> Family:
    tokenizer = tiny.tokenizer(*_IDEFICS)
    config = tf.Idefics2Config(
        text_config=_text(tokenizer, model_type="mistral"),
        vision_config=_idefics_vision(),
        perceiver_config={
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 8,
            "num_key_value_heads": 1,
            "hidden_size": WIDTH,
        },
        image_token_id=_id(tokenizer, "<image>"),
    )
    processor = tf.Idefics2Processor(
        tf.Idefics2ImageProcessorPil(
            size={"shortest_edge": 8, "longest_edge": SIDE}, do_image_splitting=False
        ),
        tokenizer,
        image_seq_len=4,
        chat_template=tiny.CHAT,
    )
    return _made(tf.Idefics2ForConditionalGeneration, config), processor


def paligemma() -> Family:
    tokenizer = tiny.tokenizer()
    config = tf.PaliGemmaConfig(
        text_config=_text(tokenizer, model_type="gemma", head_dim=8),
        vision_config=_vision(model_type="siglip_vision_model", projection_dim=WIDTH),
        image_token_index=_id(tokenizer, "<image>"),
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    pictures = tf.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    pictures.image_seq_length = 4
    processor = tf.PaliGemmaProcessor(pictures, tokenizer)
    model = _made(tf.PaliGemmaForConditionalGeneration, config, seed=2)
    model.resize_token_embeddings(len(tokenizer))  # the processor adds location tokens
    return model, processor


def gemma3() -> Family:
    tokenizer = tiny.tokenizer(boi_token="<start_of_image>", eoi_token="<end_of_image>")
    config = tf.Gemma3Config(
        text_config=_text(
            tokenizer,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config=_vision(model_type="siglip_vision_model", vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_index=_id(tokenizer, "<image>"),
        boi_token_index=_id(tokenizer, "<start_of_image>"),
        eoi_token_index=_id(tokenizer, "<end_of_image>"),
    )
    processor = tf.Gemma3Processor(
        tf.Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer,
        image_seq_length=4,
        chat_template=tiny.CHAT.replace("<image>", "<start_of_image>"),
    )
    return _made(tf.Gemma3ForConditionalGeneration, config, seed=2), processor


def gemma4() -> Family:
    tokenizer = tiny.tokenizer(
        "<|video|>",
        boi_token="<|image>",
        eoi_token="<image|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        audio_token="<|audio|>",
    )
    config = tf.Gemma4Config(
        text_config=_text(
            tokenizer,
            head_dim=8,
            global_head_dim=8,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
            vocab_size_per_layer_input=len(tokenizer),
            hidden_size_per_layer_input=8,
        ),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "patch_size": 4,
            "pooling_kernel_size": 2,
            "position_embedding_size": 64,
        },
        image_token_id=_id(tokenizer, "<image>"),
        video_token_id=_id(tokenizer, "<|video|>"),
        audio_token_id=_id(tokenizer, "<|audio|>"),
        boi_token_id=_id(tokenizer, "<|image>"),
        eoi_token_id=_id(tokenizer, "<image|>"),
        boa_token_id=_id(tokenizer, "<|audio>"),
        eoa_token_index=_id(tokenizer, "<audio|>"),
    )
    processor = without_video(tf.Gemma4Processor)(
        tf.Gemma4AudioFeatureExtractor(),
        tf.Gemma4ImageProcessorPil(
            patch_size=4,
            max_soft_tokens=70,
            pooling_kernel_size=2,
            do_normalize=True,
            image_mean=[0.5] * 3,
            image_std=[0.1] * 3,
        ),
        tokenizer,
        None,
        chat_template=tiny.CHAT,
    )
    return _made(tf.Gemma4ForConditionalGeneration, config, seed=2), processor


def internvl() -> Family:
    tokenizer = tiny.tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = tf.InternVLConfig(
        text_config=_text(tokenizer, model_type="qwen2"),
        vision_config=_vision(image_size=(SIDE, SIDE), patch_size=(4, 4)),
        image_token_id=_id(tokenizer, "<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    processor = without_video(tf.InternVLProcessor)(
        tf.GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_patches=4),
        tokenizer,
        None,
        image_seq_length=4,
        chat_template=tiny.CHAT.replace("<image>", "<IMG_CONTEXT>"),
    )
    return _made(tf.InternVLForConditionalGeneration, config), processor


def mistral3() -> Family:
    tokenizer = tiny.tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    config = tf.Mistral3Config(
        text_config=_text(tokenizer, model_type="mistral", head_dim=8),
        vision_config=_vision(model_type="pixtral", image_size=32, patch_size=4, head_dim=12),
        image_token_index=_id(tokenizer, "[IMG]"),
        spatial_merge_size=2,
    )
    processor = PixtralProcessor(
        tf.PixtralImageProcessorPil(
            size={"longest_edge": 24}, patch_size={"height": 4, "width": 4}
        ),
        tokenizer,
        patch_size=4,
        spatial_merge_size=2,
        chat_template=tiny.CHAT.replace("<image>", "[IMG]"),
    )
    return _made(tf.Mistral3ForConditionalGeneration, config), processor


def aya_vision() -> Family:
    tokenizer = tiny.tokenizer(*_AYA)
    config = tf.AyaVisionConfig(
        text_config=_text(tokenizer, model_type="cohere2", sliding_window=16),
        vision_config=_vision(model_type="siglip_vision_model", patch_size=4),
        image_token_index=_id(tokenizer, "<|IMG_PATCH|>"),
        downsample_factor=2,
        adapter_layer_norm_eps=1e-6,
    )
    processor = tf.AyaVisionProcessor(
        tf.GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_patches=4),
        tokenizer,
        patch_size=4,
        img_size=SIDE,
        downsample_factor=2,
        chat_template=tiny.CHAT,
    )
    return _made(tf.AyaVisionForConditionalGeneration, config), processor


def glm4v() -> Family:
    tokenizer = tiny.tokenizer(*_GLM, image_token="<|image|>")
    config = tf.Glm4vConfig(
        text_config=_text(tokenizer, **_mrope(2, 1, 1)),
        vision_config={
            "depth": 2,
            "hidden_size": 24,
            "num_heads": 2,
            "intermediate_size": 32,
            "out_hidden_size": WIDTH,
            "patch_size": 4,
            "image_size": SIDE,
        },
        image_token_id=_id(tokenizer, "<|image|>"),
        video_token_id=_id(tokenizer, "<|video|>"),
        image_start_token_id=_id(tokenizer, "<|begin_of_image|>"),
        image_end_token_id=_id(tokenizer, "<|end_of_image|>"),
        video_start_token_id=_id(tokenizer, "<|begin_of_video|>"),
        video_end_token_id=_id(tokenizer, "<|end_of_video|>"),
    )
    processor = without_video(tf.Glm4vProcessor)(
        tf.Glm4vImageProcessorPil(
            patch_size=4, size={"shortest_edge": 2 * 16 * 16, "longest_edge": 2 * 32 * 32}
        ),
        tokenizer,
        None,
        chat_template=tiny.CHAT.replace("<image>", "<|begin_of_image|><|image|><|end_of_image|>"),
    )
    return _made(tf.Glm4vForConditionalGeneration, config), processor


_GLM = (
    "<|video|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)


def mllama() -> Family:
    tokenizer = tiny.tokenizer("<|python_tag|>", image_token="<|image|>")
    placeholder = _id(tokenizer, "<|image|>")
    ratios = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    config = tf.MllamaConfig(
        text_config=_text(tokenizer, num_hidden_layers=3, cross_attention_layers=[1]),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
            "vision_output_dim": 72,
            "intermediate_layers_indices": [0, 1],
            "supported_aspect_ratios": ratios,
        },
        image_token_index=placeholder,
    )
    processor = tf.MllamaProcessor(
        tf.MllamaImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer,
        chat_template=tiny.CHAT.replace("<image>", "<|image|>"),
    )
    return _made(tf.MllamaForConditionalGeneration, config), processor


_AYA = (
    "<|START_OF_IMG|>",
    "<|END_OF_IMG|>",
    "<|IMG_PATCH|>",
    "<|IMG_LINE_BREAK|>",
    "TILE",
    "TILE_GLOBAL",
)


def minigpt4() -> Family:
    tokenizer = tiny.tokenizer(IMAGE_TOKEN)
    config = MiniGPT4Config(
        text_config=_text(tokenizer, vocab_size=_id(tokenizer, IMAGE_TOKEN)),
        vision_config=_vision(initializer_range=0.02),
        qformer_config=_qformer(),
        num_query_tokens=4,
        image_token_id=_id(tokenizer, IMAGE_TOKEN),
    )
    processor = MiniGPT4Processor(
        tf.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer,
        num_query_tokens=4,
    )
    return _made(MiniGPT4ForConditionalGeneration, config, seed=1), processor


#: By the table's model types.
FAMILIES: dict[str, Callable[[], Family]] = {
    "blip-2": tiny.blip2,
    "balancedit_minigpt4": minigpt4,
    "instructblip": instructblip,
    "llava": tiny.llava,
    "vipllava": vipllava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_5": qwen3_5,
    "smolvlm": smolvlm,
    "idefics3": idefics3,
    "idefics2": idefics2,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "gemma4": gemma4,
    "internvl": internvl,
    "mistral3": mistral3,
    "glm4v": glm4v,
    "mllama": mllama,
    "aya_vision": aya_vision,
}
