"""Numbers that are kept, or compared with ones that are: in the types of their tensors, whatever
the caller is in the middle of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def exactly(*, gradients: bool = False) -> Iterator[None]:
    """Inside the context there is no autocast, which would round keys and distances, and no
    inference mode, whose tensors nothing may be learned from or changed in later. gradients:
    whether they are recorded."""
    device = torch.accelerator.current_accelerator()
    with ExitStack() as context:
        context.enter_context(torch.inference_mode(False))
        context.enter_context(torch.set_grad_enabled(gradients))
        for kind in {"cpu"} | ({device.type} if device is not None else set()):
            if torch.is_autocast_enabled(kind):
                context.enter_context(torch.autocast(kind, enabled=False))
        yield
