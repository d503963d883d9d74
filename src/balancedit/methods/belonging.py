"""What a store of a method's edits of a model belongs to."""

from __future__ import annotations

from balancedit.layer.paths import edited_path, plain_path
from balancedit.methods.protocol import Method
from balancedit.models.loading import LoadedModel
from balancedit.store.protocol import Binding

#: Details of a method that name a layer by its dotted path; its weights count, wherever an adapter
#: has put it.
_LAYERS = ("layer", "key_layer")


def belonging(loaded: LoadedModel, method: Method) -> Binding:
    """The weights that the method's edits change and are found by, the prompt, and the method's own
    details. Raises `LayerError`."""
    details = method.binding()
    layers = [edited_path(loaded.model, details[name]) for name in _LAYERS if name in details]
    plain = {
        name: plain_path(loaded.model, value) if name in _LAYERS else value
        for name, value in details.items()
    }

    def former() -> Binding:
        return Binding(loaded.name, loaded.former_fingerprint(), method.name, details)

    return Binding(
        loaded.name,
        loaded.fingerprint(*layers),
        method.name,
        plain | loaded.rendered(),
        former,
    )
