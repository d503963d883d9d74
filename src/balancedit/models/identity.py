"""What of a model decides the answers that its edits give, in a form that can be kept and compared:
the weights that edits change and are found by, and what the processor makes of a prompt.

Left out on purpose is what a configuration says and no answer depends on: defaults that another
transformers adds, how an adapter names its modules, where the weights are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn

from balancedit.errors import InputError
from balancedit.inputs.images import solid
from balancedit.layer.paths import plain_path, resolve_layer
from balancedit.models.processors import chat_template
from balancedit.models.prompting import Prompter

_QUESTION = "What is this?"
#: What a chat template that writes the date asks for it, and how it is told the same every day.
_CLOCK = "strftime_now"
_STOPPED = f"{{%- macro {_CLOCK}(form) -%}}2025-01-01{{%- endmacro -%}}"
#: The probe pictures, of one colour each, so that no two ways of scaling one differ. The first lies
#: below the size that processors scale to, the second beyond it: their shapes show whether and how
#: one is cut, their values what is taken from each channel and by what it is divided.
_PICTURES = (((160, 120), "black"), ((1280, 960), "coral"))
_LONG, _STRIDE = 50_000, 101  # of more numbers than that, every 101st: prime, so of every channel
_SAME = 3  # a token that comes more often in a row is counted


def fingerprint(model: nn.Module, layers: Iterable[str]) -> str:
    """SHA-256 of the weights of the layers at these dotted paths, in their own type, and of what
    adapters in use add to the model. A layer named twice counts once. Raises `LayerError`."""
    digest = hashlib.sha256()
    for path in sorted({*layers}, key=lambda path: plain_path(model, path)):
        layer = resolve_layer(model, path)
        digest.update(f"{plain_path(model, path)}\n".encode())
        with align_module_device(layer):  # brings in what is offloaded
            for name, value in sorted(layer.state_dict().items()):
                _take(digest, name, value)
    for name, value in _added(model):
        _take(digest, name, value)
    return digest.hexdigest()


def _take(digest: Any, name: str, value: torch.Tensor) -> None:
    digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
    flat = value.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy())


def _added(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What PEFT's adapters that are in use hold beside the layers they wrap, by the place of that
    layer in the plain model. Two factors of which one is zero add nothing, and are left out."""
    wrapping = [
        (plain_path(model, path), module)
        for path, module in model.named_modules()
        if callable(getattr(module, "get_base_layer", None))
        and not getattr(module, "disable_adapters", False)
    ]
    for path, module in sorted(wrapping, key=lambda each: each[0]):
        for adapter in getattr(module, "active_adapters", ()):
            held = list(_of_adapter(module, adapter))
            matrices = [value for _, value in held if value.dim() > 1]
            vectors = [value for _, value in held if value.dim() <= 1]
            if not all(m.any() for m in matrices) and not any(v.any() for v in vectors):
                continue
            scale = getattr(module, "scaling", {}).get(adapter, 1.0)
            yield f"{path} scale", torch.tensor(float(scale))
            for name, value in held:
                yield f"{path} {name}", value


def _of_adapter(wrapping: nn.Module, adapter: str) -> Iterator[tuple[str, torch.Tensor]]:
    """An adapter's tensors at one layer, under names without the adapter's own, on the CPU."""
    for place, part in wrapping.named_modules():
        if place.split(".")[0] == "base_layer":
            continue
        with align_module_device(part):
            own = chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False))
            for name, value in own:
                pieces = f"{place}.{name}".split(".")
                if adapter in pieces:
                    yield ".".join(p for p in pieces if p != adapter), value.detach().cpu()


def rendered(prompter: Prompter) -> dict[str, str]:
    """What the processor makes of probe prompts, in words: ``prompt``, the tokens of one with a
    picture, as text and by their digest, and ``picture``, the shapes and values of what the model
    sees of two pictures of one colour. Two that differ make other answers of the same edits."""
    template = chat_template(prompter.processor)
    if isinstance(template, str) and _CLOCK in template:
        prompter = prompter.telling(chat_template=_STOPPED + template)
    prompt, pictures = "", []
    for size, colour in _PICTURES:
        shown = f"{size[0]}×{size[1]} {colour}"
        try:
            made = prompter.inputs([solid(size, colour)], [_QUESTION])
        except InputError:  # the text of it is the processor's own, and may change
            pictures.append(f"{shown} refused")
            continue
        ids = made["input_ids"][0].tolist()
        prompt = prompt or f"{_text(prompter, ids)!r} (tokens {_short(json.dumps(ids))})"
        seen = ", ".join(
            f"{'×'.join(map(str, value.shape))} of {_values(value)}"
            for _, value in sorted(made.items())
            if value.is_floating_point()
        )
        pictures.append(f"{shown} {seen or 'nothing'}")
    return {"prompt": prompt or "nothing", "picture": "; ".join(pictures)}


def _text(prompter: Prompter, ids: list[int]) -> str:
    """Token ids as text, markers and all; of a token that is repeated, how often."""
    tokenizer: Any = prompter.tokenizer
    parts: list[str] = []
    plain: list[int] = []
    for token, run in groupby(ids):
        times = len(list(run))
        if times > _SAME:
            parts += [tokenizer.decode(plain), f"{tokenizer.decode([token])}×{times}"]
            plain = []
        else:
            plain += [token] * times
    return "".join([*parts, tokenizer.decode(plain)])


def _values(value: torch.Tensor) -> str:
    """The numbers in a tensor made of a picture of one colour, to three places, or their range."""
    flat = value.reshape(-1)
    flat = flat[::_STRIDE] if len(flat) > _LONG else flat
    found = [n / 1000 for n in (flat.double() * 1000).round().long().unique().tolist()]
    return " ".join(f"{n:g}" for n in found) if len(found) <= 8 else f"{found[0]:g}…{found[-1]:g}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# -- as stores of format 3 and older have it -----------------------------------------------------


def former_fingerprint(model: nn.Module, path: str) -> str:
    """SHA-256 of the whole configuration, adapters' included, and of the edited layer's weights:
    what stores were bound to, and results named, up to format 3 of the store."""
    config: Any = model.config
    kept = {k: v for k, v in config.to_dict().items() if k not in _VOLATILE}
    adapters: Any = getattr(model, "peft_config", None)
    if adapters:
        kept["adapters"] = {name: adapters[name].to_dict() for name in sorted(adapters)}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
    layer = resolve_layer(model, path)
    with align_module_device(layer):
        for name, value in sorted(layer.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


_VOLATILE = frozenset({"_name_or_path", "transformers_version", "architectures", "dtype"})
